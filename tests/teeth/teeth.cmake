# Mutants: defects put in on purpose, each of which a named layer has to notice.
set(teeth ${CMAKE_CURRENT_SOURCE_DIR}/tests/teeth/run.sh)
hf_test(teeth_apply house 60 sh ${teeth} --apply)
hf_test(teeth_soak "soak;heavy" 3600 sh ${teeth} -- -DCMAKE_C_COMPILER=${CMAKE_C_COMPILER}
    -DCMAKE_CXX_COMPILER=${CMAKE_CXX_COMPILER})
