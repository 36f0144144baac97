# Calls and allocations that fail, one after another. The program defines the calls
# itself, so that liblmdb and libuv find them there, and can break a few functions of the
# library on purpose (faults_mutants.c).
set_target_properties(faults PROPERTIES ENABLE_EXPORTS ON)
target_link_options(faults PRIVATE -Wl,--wrap=hf_log_append -Wl,--wrap=hf_journal_wait
    -Wl,--wrap=hf_lock_drop)
target_link_libraries(faults PRIVATE ${CMAKE_DL_LIBS})

# The thread sanitizer has its own malloc and wants more memory than a child here may have.
if(HF_SANITIZE MATCHES "thread")
    return()
endif()

set(runs 120)
set(more 600)
if(HF_SANITIZE)
    set(runs 60)
    set(more 600)
endif()
hf_test(faults crash 120 faults --quiet --runs ${runs})
hf_test(faults_more ci 600 faults --runs ${more} --seed 2)
hf_test(faults_all "soak;heavy" 7200 faults --all)

# What is broken on purpose must be noticed.
hf_test(faults_notices_acknowledge crash 60
    faults --quiet --mutant acknowledge --scenario work --kind pwrite --error ENOSPC --runs 60)
hf_test(faults_notices_definite crash 60
    faults --quiet --mutant definite --scenario work --kind pwrite --error late --runs 120)
hf_test(faults_notices_descriptor crash 60
    faults --quiet --mutant descriptor --scenario clean --kind open --error EIO --runs 4)
hf_test(faults_notices_silent crash 60
    faults --quiet --mutant silent --scenario work --kind fdatasync --error EIO --runs 6)

# Full, drained, full again, with bodies that share pages and bodies that take several. The
# disk needs root, to mount it.
hf_test(faults_map crash 60 faults map 2)
foreach(what map disk)
    hf_test(faults_${what}_more ci 300 faults ${what} 10)
    hf_test(faults_${what}_large ci 300 faults ${what} 10 large)
    hf_test(faults_${what}_all "soak;heavy" 1800 faults ${what} 100)
    hf_test(faults_${what}_all_large "soak;heavy" 1800 faults ${what} 100 large)
    set_tests_properties(faults_${what}_more faults_${what}_large faults_${what}_all
        faults_${what}_all_large PROPERTIES SKIP_RETURN_CODE 77)
endforeach()
