# SPDX-License-Identifier: Apache-2.0
# What every target of the project is built with.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Debug, Release or RelWithDebInfo" FORCE)
endif()

# bin/ and lib/ beside each other in the build as in an installation; a binary looks for its
# libraries and modules there first, so that the pair can be carried to a machine without them.
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
set(CMAKE_LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib)
if(APPLE)
  set(CMAKE_BUILD_RPATH "@loader_path;@loader_path/../lib")
else()
  set(CMAKE_BUILD_RPATH "$ORIGIN;$ORIGIN/../lib")
  # DT_RPATH, unlike DT_RUNPATH, also serves the libraries of our libraries (oneDNN's OpenMP).
  add_link_options(LINKER:--disable-new-dtags)
endif()
set(CMAKE_INSTALL_RPATH ${CMAKE_BUILD_RPATH})

# Warnings are errors in our own files only: imported targets are system includes.
add_library(metalconv_warnings INTERFACE)
target_compile_options(metalconv_warnings INTERFACE -Wall -Wextra -Wshadow -Werror)
if(CMAKE_CXX_COMPILER_ID STREQUAL GNU)
  # g++ 12 warns of overlaps in its own std::string that cannot be (GCC bug 105329).
  target_compile_options(metalconv_warnings INTERFACE -Wno-restrict)
  # And, under sanitizers, of uninitialised parts of its std::regex (GCC bug 105562).
  if(CMAKE_CXX_FLAGS MATCHES "-fsanitize")
    target_compile_options(metalconv_warnings INTERFACE -Wno-maybe-uninitialized)
  endif()
endif()
link_libraries($<BUILD_INTERFACE:metalconv_warnings>)

find_program(CCACHE ccache)
if(CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_C_COMPILER_LAUNCHER ${CCACHE})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE})
endif()

# The installed oneTBB is not built for ThreadSanitizer: its place is taken by std::thread there.
option(METALCONV_PLAIN_THREADS "std::thread instead of oneTBB, for ThreadSanitizer" OFF)
if(METALCONV_PLAIN_THREADS)
  include_directories(BEFORE ${PROJECT_SOURCE_DIR}/tests/plain_threads)
endif()
