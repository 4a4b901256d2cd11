# SPDX-License-Identifier: MIT
# What a build can choose, and the flags that follow from it. Everything is
# carried by the target refstorm-options, which every other target links.

option(RS_WERROR "Warnings are errors" OFF)
option(RS_WINDOWS "Labelled windows: points where stalls and failures can be injected" OFF)
option(RS_PLANTS "Planted bugs, armed by REFSTORM_PLANT" OFF)
option(RS_COUNT "Count locked instructions and shared lines written" OFF)
option(RS_FUZZ "Fuzz targets (clang only)" OFF)
set(RS_SANITIZE "" CACHE STRING "\"\", address (with undefined) or thread")
set_property(CACHE RS_SANITIZE PROPERTY STRINGS "" address thread)

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()

set(CMAKE_C_STANDARD 17)
set(CMAKE_C_EXTENSIONS ON)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_CXX_STANDARD 23)
set(CMAKE_CXX_EXTENSIONS ON)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)

# No -march=native: what is built here must run on other machines.
foreach(lang C CXX)
  set(CMAKE_${lang}_FLAGS_RELEASE "-O2 -g -DNDEBUG")
  set(CMAKE_${lang}_FLAGS_RELWITHDEBINFO "-O2 -g")
  set(CMAKE_${lang}_FLAGS_DEBUG "-O0 -g3")
endforeach()

add_library(refstorm-options INTERFACE)
target_include_directories(refstorm-options INTERFACE
  ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/include)
target_compile_options(refstorm-options INTERFACE
  -Wall -Wextra -Wshadow -Wconversion -Wvla -Wundef -Wpointer-arith -Wformat=2
  $<$<COMPILE_LANGUAGE:C>:-Wmissing-prototypes;-Wstrict-prototypes;-Wold-style-definition>
  $<$<BOOL:${RS_WERROR}>:-Werror>)
target_compile_definitions(refstorm-options INTERFACE
  _GNU_SOURCE=1
  $<$<BOOL:${RS_WINDOWS}>:RS_WINDOWS=1>
  $<$<BOOL:${RS_PLANTS}>:RS_PLANTS=1>
  $<$<BOOL:${RS_COUNT}>:RS_COUNT=1>)

set(RS_TEST_LAUNCHER "")
set(RS_TEST_ENVIRONMENT "")
if(RS_SANITIZE STREQUAL "address")
  set(flags -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -O1)
  list(APPEND RS_TEST_ENVIRONMENT
    "ASAN_OPTIONS=allocator_may_return_null=1:detect_stack_use_after_return=1"
    "UBSAN_OPTIONS=print_stacktrace=1")
elseif(RS_SANITIZE STREQUAL "thread")
  set(flags -fsanitize=thread -fno-omit-frame-pointer -O1)
  list(APPEND RS_TEST_ENVIRONMENT
    "TSAN_OPTIONS=suppressions=${PROJECT_SOURCE_DIR}/tests/tsan.supp:halt_on_error=1:allocator_may_return_null=1")
  # Its shadow memory has no room for mappings spread over more than 28 random
  # bits: a program then dies at its start, unless randomization is off.
  set(bits 28)
  if(EXISTS /proc/sys/vm/mmap_rnd_bits)
    file(STRINGS /proc/sys/vm/mmap_rnd_bits bits LIMIT_COUNT 1)
  endif()
  if(bits GREATER 28)
    find_program(SETARCH setarch REQUIRED)
    set(RS_TEST_LAUNCHER ${SETARCH} -R)
  endif()
elseif(RS_SANITIZE)
  message(FATAL_ERROR "RS_SANITIZE is ${RS_SANITIZE}: it must be empty, address or thread")
endif()
if(RS_SANITIZE)
  target_compile_options(refstorm-options INTERFACE ${flags})
  target_link_options(refstorm-options INTERFACE ${flags})
endif()

if(RS_FUZZ AND NOT CMAKE_C_COMPILER_ID STREQUAL "Clang")
  message(FATAL_ERROR "RS_FUZZ needs clang")
endif()
