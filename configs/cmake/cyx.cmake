# What every folder's CMakeLists.txt uses: warnings, sanitizers, dependencies, one function each for
# a library, a program and a test.

set(CYX_WARNINGS -Wall -Wextra -Wshadow -Wconversion -Wsign-conversion -Wvla -Wstrict-prototypes
                 -Wmissing-prototypes -Wpointer-arith -Wcast-qual -Werror)

# Texts for people are cut to their buffers on purpose; everything else goes through base/writer.h.
if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
  list(APPEND CYX_WARNINGS -Wno-format-truncation)
endif()

add_library(cyx_flags INTERFACE)
target_compile_options(cyx_flags INTERFACE ${CYX_WARNINGS} -fno-strict-aliasing
  -fstack-protector-strong -fno-common)
target_compile_definitions(cyx_flags INTERFACE _GNU_SOURCE CYX_VERSION="${PROJECT_VERSION}"
  $<$<AND:$<CONFIG:Release>,$<NOT:$<BOOL:${CYX_ASAN}>>>:_FORTIFY_SOURCE=2>)
target_include_directories(cyx_flags INTERFACE ${CMAKE_SOURCE_DIR})
# Assertions stay on wherever somebody looks for bugs (RelWithDebInfo turns them off).
if(CYX_ASAN OR CYX_TSAN OR CYX_FUZZ)
  target_compile_options(cyx_flags INTERFACE -UNDEBUG)
endif()
if(CYX_ASAN)
  target_compile_options(cyx_flags INTERFACE -fsanitize=address,undefined
    -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(cyx_flags INTERFACE -fsanitize=address,undefined)
endif()
if(CYX_TSAN)
  target_compile_options(cyx_flags INTERFACE -fsanitize=thread -fno-omit-frame-pointer)
  target_link_options(cyx_flags INTERFACE -fsanitize=thread)
endif()
if(CYX_FUZZ)
  target_compile_options(cyx_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()
if(CYX_COVERAGE)
  target_compile_options(cyx_flags INTERFACE --coverage)
  target_link_options(cyx_flags INTERFACE --coverage)
endif()

macro(cyx_find_dependencies)
  find_package(PkgConfig REQUIRED)
  find_package(Threads REQUIRED)
  pkg_check_modules(SODIUM REQUIRED IMPORTED_TARGET libsodium)
  pkg_check_modules(UV REQUIRED IMPORTED_TARGET libuv)
  pkg_check_modules(MSGPACK REQUIRED IMPORTED_TARGET msgpack)
  pkg_check_modules(LMDB REQUIRED IMPORTED_TARGET lmdb)
  pkg_check_modules(CRYPTO REQUIRED IMPORTED_TARGET libcrypto)
  pkg_check_modules(NGTCP2 REQUIRED IMPORTED_TARGET libngtcp2)
  pkg_check_modules(SECCOMP REQUIRED IMPORTED_TARGET libseccomp)
  pkg_check_modules(CAP REQUIRED IMPORTED_TARGET libcap)
  pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson)
  pkg_check_modules(NCURSES REQUIRED IMPORTED_TARGET ncursesw)
  if(CYX_TESTS)
    pkg_check_modules(CRITERION IMPORTED_TARGET criterion)
  endif()
endmacro()

# cyx_library(name LINKS lib...): a static library of every *.c in this folder (not below it).
function(cyx_library name)
  cmake_parse_arguments(A "" "" "LINKS;SOURCES" ${ARGN})
  if(NOT A_SOURCES)
    file(GLOB A_SOURCES CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.c)
  endif()
  add_library(${name} STATIC ${A_SOURCES})
  target_link_libraries(${name} PUBLIC cyx_flags ${A_LINKS})
endfunction()

# cyx_program(name SOURCES ... LINKS lib...): an executable in the build folder's bin/.
function(cyx_program name)
  cmake_parse_arguments(A "" "" "LINKS;SOURCES" ${ARGN})
  add_executable(${name} ${A_SOURCES})
  target_link_libraries(${name} PRIVATE cyx_flags ${A_LINKS})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
endfunction()
