# SPDX-License-Identifier: Apache-2.0
# Installs the library and builds a project on it. Sanitizer builds have nothing to add here.
if(CMAKE_CXX_FLAGS MATCHES "-fsanitize")
  return()
endif()
set(prefix ${CMAKE_CURRENT_BINARY_DIR}/installed/prefix)
add_test(NAME install_library
  COMMAND ${CMAKE_COMMAND} --install ${PROJECT_BINARY_DIR} --prefix ${prefix} --component library)
set_tests_properties(install_library PROPERTIES FIXTURES_SETUP installed_library)
add_test(NAME installed_library
  COMMAND ${CMAKE_CTEST_COMMAND}
    --build-and-test ${CMAKE_CURRENT_SOURCE_DIR}/installed ${CMAKE_CURRENT_BINARY_DIR}/installed/build
    --build-generator ${CMAKE_GENERATOR}
    --build-options
      -DCMAKE_BUILD_TYPE=${CMAKE_BUILD_TYPE}
      -DCMAKE_CXX_COMPILER=${CMAKE_CXX_COMPILER}
      -DCMAKE_PREFIX_PATH=${prefix}
      -DWANTED_PREFIX=${prefix}
      -DWANTED_VERSION=${PROJECT_VERSION}
    --test-command ${CMAKE_CTEST_COMMAND} --output-on-failure --no-tests=error)
set_tests_properties(installed_library PROPERTIES
  FIXTURES_REQUIRED installed_library TIMEOUT 300)
