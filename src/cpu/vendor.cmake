# SPDX-License-Identifier: Apache-2.0
# The vendor of the CPU: a module for each oneDNN that is here, the system's and a 3.x fetched by
# scripts/fetch-onednn3.sh; without any, a stub.
set(METALCONV_ONEDNN3_DIR ${PROJECT_SOURCE_DIR}/build/onednn3 CACHE PATH
  "oneDNN 3.x, include/ and lib/, as scripts/fetch-onednn3.sh leaves it")
find_package(dnnl QUIET)

# metalconv_onednn_module(MAJOR TARGET) compiles vendor_onednn.cpp for that imported oneDNN.
function(metalconv_onednn_module major dnnl)
  set(module metalconv_onednn${major})
  add_library(${module} MODULE vendor_onednn.cpp)
  target_include_directories(${module} PRIVATE ${PROJECT_SOURCE_DIR}/include ${PROJECT_SOURCE_DIR}/src)
  target_link_libraries(${module} PRIVATE ${dnnl})
  # Inline functions of one version's headers must not stand in for those of the other's.
  set_target_properties(${module} PROPERTIES CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON)
  add_dependencies(metalconv ${module})
  set_property(GLOBAL APPEND PROPERTY METALCONV_MODULES ${module})
  set(file ${CMAKE_SHARED_MODULE_PREFIX}${module}${CMAKE_SHARED_MODULE_SUFFIX})
  set(onednn_modules ${onednn_modules} \"${file}\" PARENT_SCOPE)
endfunction()

# The system's first, because of equal rows the planner takes the first: 2.x has a Winograd for f32 on
# x86, which 3.x has no more.
set(onednn_modules "")
string(REGEX MATCH "^[0-9]+" dnnl_major "${dnnl_VERSION}")
if(dnnl_FOUND)
  metalconv_onednn_module(${dnnl_major} DNNL::dnnl)
endif()
set(onednn3_library ${METALCONV_ONEDNN3_DIR}/lib/libdnnl.so.3)
if(EXISTS ${onednn3_library} AND NOT TARGET metalconv_onednn3)
  add_library(metalconv_dnnl3 SHARED IMPORTED)
  set_target_properties(metalconv_dnnl3 PROPERTIES IMPORTED_LOCATION ${onednn3_library}
    INTERFACE_INCLUDE_DIRECTORIES ${METALCONV_ONEDNN3_DIR}/include)
  metalconv_onednn_module(3 metalconv_dnnl3)
  # No package manager installs this one: it stays beside the module, in the build as installed.
  file(COPY ${onednn3_library} DESTINATION ${CMAKE_LIBRARY_OUTPUT_DIRECTORY})
  install(FILES ${onednn3_library} DESTINATION lib)
endif()

if(onednn_modules)
  target_sources(metalconv PRIVATE vendor.cpp)
  list(JOIN onednn_modules "," onednn_modules)
  set(definitions METALCONV_ONEDNN_MODULES=${onednn_modules})
  if(CMAKE_CXX_FLAGS MATCHES "-fsanitize=")
    list(APPEND definitions METALCONV_SANITIZED)
  endif()
  set_property(SOURCE ${CMAKE_CURRENT_SOURCE_DIR}/vendor.cpp TARGET_DIRECTORY metalconv
    PROPERTY COMPILE_DEFINITIONS ${definitions})
else()
  target_sources(metalconv PRIVATE vendor_none.cpp)
endif()
