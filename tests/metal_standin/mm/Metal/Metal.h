// SPDX-License-Identifier: Apache-2.0
#pragma once

#import <Foundation/Foundation.h>

@protocol MTLDevice
@end
@protocol MTLBuffer
@end
@protocol MTLCommandBuffer
@end
