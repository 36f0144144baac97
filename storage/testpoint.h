/* testpoint.h - named places where a test may kill, delay or fail.
 *
 * HF_TESTPOINT("journal.committed") costs nothing in release builds. In builds
 * with HF_TESTPOINTS defined it calls the hook, or, if the environment says
 * HF_KILL_AT=name:n, kills the process with SIGKILL the nth time it passes. */
#ifndef STORAGE_TESTPOINT_H
#define STORAGE_TESTPOINT_H

#ifdef HF_TESTPOINTS
typedef void (*hf_testpoint_fn)(void *user, const char *name);
void hf_testpoint(const char *name);
void hf_testpoint_hook(hf_testpoint_fn hook, void *user); /* NULL: none */
#define HF_TESTPOINT(name) hf_testpoint(name)
#else
#define HF_TESTPOINT(name) ((void)0)
#endif

#endif
