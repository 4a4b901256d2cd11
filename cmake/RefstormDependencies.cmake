# SPDX-License-Identifier: MIT
# Every library that is not ours. tools/packages.txt names the packages.

find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)

# What the library itself needs; refstorm.pc passes it on.
pkg_check_modules(RS_CORE REQUIRED IMPORTED_TARGET
  liburcu-memb hwloc liburing libgcrypt libxxhash)
find_library(ISAL_LIBRARY isal REQUIRED)

add_library(refstorm-core-deps INTERFACE)
target_link_libraries(refstorm-core-deps INTERFACE
  PkgConfig::RS_CORE ${ISAL_LIBRARY} Threads::Threads m)

pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson)
if(BUILD_TESTING)
  pkg_check_modules(CMOCKA REQUIRED IMPORTED_TARGET cmocka)
endif()

# The allocator of the programs. The library leaves that choice to its callers,
# and the sanitizers bring their own.
add_library(refstorm-allocator INTERFACE)
if(NOT RS_SANITIZE)
  pkg_check_modules(JEMALLOC REQUIRED jemalloc)
  # Also where the program itself calls nothing of it: its libraries do.
  target_link_options(refstorm-allocator INTERFACE
    LINKER:--push-state,--no-as-needed ${JEMALLOC_LINK_LIBRARIES} LINKER:--pop-state)
endif()
