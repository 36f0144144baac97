# Fuzzers. Each is one file fuzz_NAME.c; its corpus is tests/fuzz/corpus/NAME.
#
# Every build runs the corpus and seeded mutations of it. With clang and
#     cmake --preset release -B build/fuzz -DCMAKE_C_COMPILER=clang \
#         -DCMAKE_CXX_COMPILER=clang++ -DHF_FUZZ=ON
# the library is built for libFuzzer, too: fuzz_NAME_search looks for new inputs, and
# `ctest -L soak -R fuzz_` lets each look for ten minutes.
option(HF_FUZZ "build libFuzzer programs (clang, its compiler-rt)" OFF)

set(fuzz ${CMAKE_CURRENT_SOURCE_DIR}/tests/fuzz)
set(fuzz_mutations 20000)
set(fuzz_mutations_replay 10000) # these have files or a store under them
set(fuzz_mutations_marker 10000)
set(fuzz_mutations_client 10000)
if(HF_SANITIZE)
    set(fuzz_mutations_replay 4000)
    set(fuzz_mutations_client 5000)
    set(fuzz_mutations_strike 10000)
endif()

if(HF_FUZZ)
    if(NOT CMAKE_C_COMPILER_ID MATCHES "Clang" OR HF_SANITIZE)
        message(FATAL_ERROR "HF_FUZZ needs clang, and brings its own sanitizers")
    endif()
    set(fuzz_flags -fsanitize=address,undefined -fno-sanitize-recover=all)
    target_compile_options(holdfast_flags INTERFACE -fsanitize=fuzzer-no-link ${fuzz_flags}
        -fno-omit-frame-pointer)
    target_link_options(holdfast_flags INTERFACE ${fuzz_flags})
endif()

# cli_inside (tests/unit) is the tool without its main.
function(hf_fuzzer name source)
    hf_program(${name} ${source} ${ARGN})
    target_link_libraries(${name} PRIVATE cli_inside test_support holdfast_static
        PkgConfig::CMOCKA ${needs} m)
endfunction()

file(GLOB fuzzers CONFIGURE_DEPENDS ${fuzz}/fuzz_*.c)
foreach(source ${fuzzers})
    get_filename_component(name ${source} NAME_WE)
    string(REPLACE "fuzz_" "" parser ${name})
    set(mutations ${fuzz_mutations})
    if(DEFINED fuzz_mutations_${parser})
        set(mutations ${fuzz_mutations_${parser}})
    endif()
    hf_fuzzer(${name} ${source} ${fuzz}/replay_corpus.c)
    hf_test(${name} fuzz 60 ${name} -n ${mutations} -s 1 ${fuzz}/corpus/${parser})
    if(HF_FUZZ)
        hf_fuzzer(${name}_search ${source})
        target_link_options(${name}_search PRIVATE -fsanitize=fuzzer)
        file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/fuzz_corpus/${parser})
        hf_test(${name}_soak "soak;heavy" 900 ${name}_search -max_total_time=600 -timeout=20
            -max_len=4096 -print_final_stats=1 -artifact_prefix=${name}-
            ${CMAKE_BINARY_DIR}/fuzz_corpus/${parser} ${fuzz}/corpus/${parser})
    endif()
endforeach()
