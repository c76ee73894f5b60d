# SPDX-License-Identifier: Apache-2.0
# libjpeg-turbo by the header and library of its own interface: TurboJPEG::turbojpeg,
# TurboJPEG_VERSION. Debian's package has no file for CMake.
find_path(TurboJPEG_INCLUDE_DIR turbojpeg.h)
find_library(TurboJPEG_LIBRARY turbojpeg)
if(TurboJPEG_INCLUDE_DIR)
  # jconfig.h lies beside it or in the folder of the architecture.
  find_file(TurboJPEG_CONFIG jconfig.h HINTS ${TurboJPEG_INCLUDE_DIR} NO_CACHE)
  if(TurboJPEG_CONFIG)
    file(STRINGS ${TurboJPEG_CONFIG} line REGEX "^#define LIBJPEG_TURBO_VERSION ")
    string(REGEX MATCH "[0-9.]+$" TurboJPEG_VERSION "${line}")
  endif()
endif()
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(TurboJPEG
  REQUIRED_VARS TurboJPEG_LIBRARY TurboJPEG_INCLUDE_DIR VERSION_VAR TurboJPEG_VERSION)
mark_as_advanced(TurboJPEG_INCLUDE_DIR TurboJPEG_LIBRARY)
if(TurboJPEG_FOUND AND NOT TARGET TurboJPEG::turbojpeg)
  add_library(TurboJPEG::turbojpeg UNKNOWN IMPORTED)
  set_target_properties(TurboJPEG::turbojpeg PROPERTIES
    IMPORTED_LOCATION ${TurboJPEG_LIBRARY} INTERFACE_INCLUDE_DIRECTORIES ${TurboJPEG_INCLUDE_DIR})
endif()
