# SPDX-License-Identifier: Apache-2.0
# `cmake --install build/release --prefix DIR`                     command, library, headers
# `cmake --install build/release --prefix DIR --component library` what find_package(metalconv) needs
# `cmake --install build/release --prefix DIR --component travel`  command and every library that
#     it needs beside it, for a machine that has none of them

# Modules opened at run time (vendors): a room names its own with
#   set_property(GLOBAL APPEND PROPERTY METALCONV_MODULES target)
get_property(modules GLOBAL PROPERTY METALCONV_MODULES)

include(CMakePackageConfigHelpers)
set(package ${CMAKE_INSTALL_LIBDIR}/cmake/metalconv)
get_target_property(links metalconv LINK_LIBRARIES)
set(METALCONV_EMULATOR OFF)
if("Boost::context" IN_LIST links)
  set(METALCONV_EMULATOR ON)
endif()
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/metalconvConfig.cmake.in
  ${PROJECT_BINARY_DIR}/metalconvConfig.cmake INSTALL_DESTINATION ${package})
# Before 1.0 a minor version may change the interface.
write_basic_package_version_file(${PROJECT_BINARY_DIR}/metalconvConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)

install(TARGETS metalconv EXPORT metalconvTargets
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT library
  INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT metalconvTargets NAMESPACE metalconv:: DESTINATION ${package} COMPONENT library)
install(FILES ${PROJECT_BINARY_DIR}/metalconvConfig.cmake
  ${PROJECT_BINARY_DIR}/metalconvConfigVersion.cmake DESTINATION ${package} COMPONENT library)
install(DIRECTORY include/metalconv DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT library)
install(TARGETS metalconv_cli RUNTIME DESTINATION bin)
if(modules)
  install(TARGETS ${modules} LIBRARY DESTINATION lib)
endif()

# Of the system's libraries only the C library stays behind: it comes with the kernel's loader.
set(c_library "^(ld-linux|linux-vdso|libc|libm|libdl|librt|libpthread)[-.]" "^/usr/lib/lib" "^/System/")
install(TARGETS metalconv_cli ${modules} RUNTIME_DEPENDENCY_SET metalconv_needs
  RUNTIME DESTINATION bin COMPONENT travel EXCLUDE_FROM_ALL
  LIBRARY DESTINATION lib COMPONENT travel EXCLUDE_FROM_ALL)
install(RUNTIME_DEPENDENCY_SET metalconv_needs
  PRE_EXCLUDE_REGEXES ${c_library}
  LIBRARY DESTINATION lib COMPONENT travel EXCLUDE_FROM_ALL
  FRAMEWORK DESTINATION lib COMPONENT travel EXCLUDE_FROM_ALL)
