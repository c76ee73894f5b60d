# SPDX-License-Identifier: Apache-2.0
# metalconv_embed(TARGET FUNCTION FILE...)
# compiles the files into TARGET and makes them the result of FUNCTION, which a header declares:
#   std::span<const metalconv::EmbeddedFile> FUNCTION();
# They are read when the target is built, so that an edited file is embedded by the next build.

if(CMAKE_SCRIPT_MODE_FILE)  # the build step: cmake -D OUTPUT= -D FUNCTION= -D FILES= -P Embed.cmake
  string(REGEX MATCH "^(.+)::([^:]+)$" _ "${FUNCTION}")
  set(text "#include <span>\n#include \"core/embedded.h\"\n\nnamespace ${CMAKE_MATCH_1} {\n\n")
  string(APPEND text "std::span<const EmbeddedFile> ${CMAKE_MATCH_2}();\n\n")
  string(APPEND text "std::span<const EmbeddedFile> ${CMAKE_MATCH_2}() {\n")
  string(APPEND text "  static constexpr EmbeddedFile kFiles[] = {\n")
  string(REPLACE "," ";" FILES "${FILES}")
  foreach(file IN LISTS FILES)
    get_filename_component(name "${file}" NAME)
    file(READ "${file}" body)
    string(APPEND text "      {\"${name}\", R\"embedded(${body})embedded\"},\n")
  endforeach()
  string(APPEND text "  };\n  return kFiles;\n}\n\n}  // namespace ${CMAKE_MATCH_1}\n")
  file(WRITE "${OUTPUT}" "${text}")
  return()
endif()

set(METALCONV_EMBED_SCRIPT ${CMAKE_CURRENT_LIST_FILE})

function(metalconv_embed target function)
  string(REPLACE "::" "_" stem ${function})
  set(output ${CMAKE_CURRENT_BINARY_DIR}/${stem}.cpp)
  set(files "")
  foreach(file IN LISTS ARGN)
    get_filename_component(file ${file} ABSOLUTE)
    list(APPEND files ${file})
  endforeach()
  string(REPLACE ";" "," joined "${files}")
  add_custom_command(
    OUTPUT ${output}
    COMMAND ${CMAKE_COMMAND} -D OUTPUT=${output} -D FUNCTION=${function} -D "FILES=${joined}"
            -P ${METALCONV_EMBED_SCRIPT}
    DEPENDS ${files} ${METALCONV_EMBED_SCRIPT}
    VERBATIM)
  # A custom command is known in its own folder only, and the target may be of another.
  add_custom_target(${stem} DEPENDS ${output})
  add_dependencies(${target} ${stem})
  set_source_files_properties(${output} TARGET_DIRECTORY ${target} PROPERTIES GENERATED TRUE)
  target_sources(${target} PRIVATE ${output})
endfunction()
