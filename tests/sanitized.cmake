# The readers of foreign bytes, and their tests, a second time under ASan and UBSan, so that a plain run of all tests
# covers hostile files too. Only base, tensor, io and text: the whole program under sanitizers is the preset `asan`.
# The flags are their own: moe_flags asks for _FORTIFY_SOURCE, which hides reads from ASan. UBSan's null, object-size and vptr
# checks are left out here: they double the time to compile, and ASan stops at what the first two would report.
set(sanitizers -fsanitize=address,undefined -fno-sanitize=null,object-size,vptr -fno-sanitize-recover=all)
add_library(moe_sanitized_flags INTERFACE)
target_include_directories(moe_sanitized_flags INTERFACE ${CMAKE_SOURCE_DIR})
target_compile_options(moe_sanitized_flags INTERFACE ${sanitizers} -ffp-contract=off -fno-omit-frame-pointer)
target_compile_definitions(moe_sanitized_flags INTERFACE _GLIBCXX_ASSERTIONS)
target_link_options(moe_sanitized_flags INTERFACE ${sanitizers})
foreach(folder base tensor io text)  # the same libraries from outside; those from inside are sources below
  get_target_property(libraries moe_${folder} LINK_LIBRARIES)
  list(FILTER libraries EXCLUDE REGEX "^moe_")
  target_link_libraries(moe_sanitized_flags INTERFACE ${libraries})
endforeach()
target_link_libraries(moe_sanitized_flags INTERFACE Threads::Threads fmt::fmt)

file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/moe/base/*.cpp ${CMAKE_SOURCE_DIR}/moe/tensor/*.cpp
  ${CMAKE_SOURCE_DIR}/moe/io/*.cpp ${CMAKE_SOURCE_DIR}/moe/text/*.cpp)
add_library(moe_sanitized OBJECT ${sources})
target_link_libraries(moe_sanitized PUBLIC moe_sanitized_flags)
target_compile_options(moe_sanitized PRIVATE -O1)
target_precompile_headers(moe_sanitized PRIVATE ${CMAKE_SOURCE_DIR}/moe/base/pch.h)

foreach(folder base io text)
  # The tests are linked as they are: what they call is instrumented. The library stands first, so that the instrumented
  # copy of each inline function is the one that is kept.
  add_executable(test_${folder}_sanitized $<TARGET_OBJECTS:moe_sanitized> $<TARGET_OBJECTS:test_${folder}>)
  set_target_properties(test_${folder}_sanitized PROPERTIES LINKER_LANGUAGE CXX)
  target_link_libraries(test_${folder}_sanitized PRIVATE moe_sanitized_flags GTest::gtest_main GTest::gmock)
  add_test(NAME sanitized.${folder} COMMAND test_${folder}_sanitized --gtest_brief=1)
  # A length field that is believed asks for far more than any test's file needs: then the run stops.
  set_tests_properties(sanitized.${folder} PROPERTIES LABELS "slow;sanitized" TIMEOUT 600 ENVIRONMENT
    "ASAN_OPTIONS=detect_leaks=1:strict_string_checks=1:max_allocation_size_mb=512;UBSAN_OPTIONS=print_stacktrace=1")
endforeach()
