# SPDX-License-Identifier: MIT

# rs_add_part(NAME SOURCES ... LINKS ...)
# A part of the programs: a static archive, of which each program takes what it
# uses. Without sources yet it only passes on what it links.
function(rs_add_part name)
  cmake_parse_arguments(PART "" "" "SOURCES;LINKS" ${ARGN})
  if(PART_SOURCES)
    add_library(${name} STATIC ${PART_SOURCES})
    target_link_libraries(${name} PRIVATE refstorm-options PUBLIC ${PART_LINKS})
  else()
    add_library(${name} INTERFACE)
    target_link_libraries(${name} INTERFACE ${PART_LINKS})
  endif()
endfunction()

# rs_add_programs(SOURCES ... LINKS ...)
# some_name_main.c becomes the program refstorm-some-name.
function(rs_add_programs)
  cmake_parse_arguments(PROGRAMS "" "" "SOURCES;LINKS" ${ARGN})
  foreach(source ${PROGRAMS_SOURCES})
    cmake_path(GET source STEM stem)
    string(REGEX REPLACE "_main$" "" stem ${stem})
    string(REPLACE "_" "-" stem ${stem})
    add_executable(refstorm-${stem} ${source})
    target_link_libraries(refstorm-${stem} PRIVATE
      refstorm-allocator refstorm-options ${PROGRAMS_LINKS})
  endforeach()
endfunction()
