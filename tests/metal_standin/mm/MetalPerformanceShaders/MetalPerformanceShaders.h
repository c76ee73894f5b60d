// SPDX-License-Identifier: Apache-2.0
#pragma once

#import <Metal/Metal.h>

enum MPSDataType : unsigned {
  MPSDataTypeFloat32 = 0x10000000 | 32,
  MPSDataTypeFloat16 = 0x10000000 | 16,
  MPSDataTypeBFloat16 = 0x80000000 | 0x10000000 | 16,
};

@interface MPSCommandBuffer : NSObject <MTLCommandBuffer>
+ (instancetype)commandBufferWithCommandBuffer:(id<MTLCommandBuffer>)commandBuffer;
@property(readonly) id<MTLCommandBuffer> rootCommandBuffer;
@end

@interface MPSNDArrayDescriptor : NSObject
+ (instancetype)descriptorWithDataType:(MPSDataType)dataType shape:(NSArray<NSNumber*>*)shape;
@property BOOL preferPackedRows;
@end

@interface MPSNDArray : NSObject
- (instancetype)initWithBuffer:(id<MTLBuffer>)buffer
                        offset:(NSUInteger)offset
                    descriptor:(MPSNDArrayDescriptor*)descriptor;
@end
