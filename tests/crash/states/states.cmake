# Crash states. The program defines open, pwrite, … itself, so that liblmdb finds them
# there, and stands between the log and the fold (mutants.c).
set_target_properties(states PROPERTIES ENABLE_EXPORTS ON)
target_link_options(states PRIVATE -Wl,--wrap=hf_fold_slice)
target_link_libraries(states PRIVATE ${CMAKE_DL_LIBS})

set(size --go-on 2 --random 12)
if(HF_SANITIZE)
    set(size --go-on 3 --ops 8)
endif()
hf_test(states crash 120 states ${size} all)

# What is broken on purpose must be noticed.
hf_test(states_notices_nosync crash 60 states --mutant nosync append)
hf_test(states_notices_nometasync crash 60 states --mutant nometasync append)
hf_test(states_notices_fold crash 60 states --mutant fold --seeds 3 append)
hf_test(states_notices_nodirsync crash 60 states --mutant nodirsync create)

hf_test(states_ci ci 600
    states --all 12 --random 40 --go-on 2 --seeds 4 all)
hf_test(states_soak "soak;heavy" 7200
    states --states 3000000 --all 14 --random 60 --go-on 2 all)
