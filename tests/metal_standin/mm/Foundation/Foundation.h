// SPDX-License-Identifier: Apache-2.0
// Declarations of what src/metal/vendor.mm uses of Foundation, written by hand from the
// documentation: enough for a compiler to check selectors and types, and to call the stand-in.
#pragma once

#include <cstddef>

#define nil nullptr
#define YES true
#define NO false

using NSUInteger = unsigned long;
using NSInteger = long;
using BOOL = bool;

struct NSOperatingSystemVersion {
  NSInteger majorVersion, minorVersion, patchVersion;
};

@protocol NSCopying
@end

__attribute__((objc_root_class))
@interface NSObject
+ (instancetype)alloc;
+ (instancetype)new;
- (instancetype)init;
@end

@interface NSString : NSObject
@property(readonly) const char* UTF8String;
@end

@interface NSException : NSObject
@property(readonly) NSString* reason;
@end

@interface NSNumber : NSObject
+ (NSNumber*)numberWithInt:(int)value;
+ (NSNumber*)numberWithLong:(long)value;
+ (NSNumber*)numberWithLongLong:(long long)value;
@end

@interface NSArray<__covariant T> : NSObject
+ (instancetype)arrayWithObjects:(const T[])objects count:(NSUInteger)count;
+ (instancetype)array;
@property(readonly) NSUInteger count;
- (T)objectAtIndexedSubscript:(NSUInteger)index;
@end

@interface NSMutableArray<T> : NSArray <T>
- (void)addObject:(T)object;
@end

@interface NSDictionary<__covariant K, __covariant V> : NSObject
+ (instancetype)dictionary;
@end

@interface NSMutableDictionary<K, V> : NSDictionary <K, V>
- (void)setObject:(V)object forKeyedSubscript:(K)key;
@end

@interface NSProcessInfo : NSObject
@property(class, readonly) NSProcessInfo* processInfo;
- (BOOL)isOperatingSystemAtLeastVersion:(NSOperatingSystemVersion)version;
@end
