/* cli_terminal.c - the tool in a pseudo terminal: cli_terminal HOLDFAST CLI_SHOP.
 *
 * Runs `top` and the questions of bulk changes as a person would: keys, another size,
 * signals, an engine that goes away. What the tool writes is drawn on a screen of ours,
 * and that is what is looked at. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { ROWS = 60, COLUMNS = 200, PATIENCE_MS = 30000, CTRL_C = 0 };

static const char *tool, *shop;
static char        store[200];

typedef struct screen {
    char   cells[ROWS][COLUMNS];
    int    row, column, rows, columns;
    bool   other, hidden; /* the other screen; no cursor */
    bool   styled, overrun;
    char   escape[32];
    size_t escape_len;
} screen;

typedef struct terminal {
    int            master, slave;
    pid_t          leader, pid; /* a little shell, and the tool */
    int            states;      /* what waitpid told that shell */
    struct termios before;
    screen         s;
    char           all[1 << 16]; /* what was written, the end of it */
    size_t         all_len;
} terminal;

static terminal t;
static pid_t    shop_pid;
static int      shop_in; /* the shop closes with it */

/* ---- A screen */

static void blank(screen *s, int row, int from)
{
    memset(s->cells[row] + from, ' ', (size_t)(COLUMNS - from));
}

static void clear(screen *s)
{
    for (int i = 0; i < ROWS; i++)
        blank(s, i, 0);
    s->row = s->column = 0;
}

static void obey(screen *s)
{
    const char *e = s->escape + 1; /* behind the '[' */
    char last = s->escape[s->escape_len - 1];
    bool on = last == 'h';
    if (strncmp(e, "?1049", 5) == 0) {
        s->other = on;
        clear(s);
    } else if (strncmp(e, "?25", 3) == 0) {
        s->hidden = !on;
    } else if (last == 'H') {
        s->row = s->column = 0;
    } else if (last == 'K') {
        blank(s, s->row, s->column < COLUMNS ? s->column : COLUMNS - 1);
    } else if (last == 'J') {
        if (e[0] == '2') {
            int row = s->row, column = s->column;
            clear(s);
            s->row = row;
            s->column = column;
        } else {
            for (int i = s->row + 1; i < ROWS; i++)
                blank(s, i, 0);
        }
    } else if (last == 'm') {
        s->styled = s->styled || strcmp(e, "0m") != 0;
    } else {
        fail_msg("the tool wrote ESC%s", s->escape);
    }
}

static void put(screen *s, unsigned char c)
{
    if (s->escape_len > 0) {
        if (s->escape_len < sizeof s->escape - 1)
            s->escape[s->escape_len - 1] = (char)c, s->escape[s->escape_len++] = 0;
        if (s->escape_len > 2 && ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'))) {
            s->escape_len--;
            obey(s);
            s->escape_len = 0;
        }
    } else if (c == 033) {
        s->escape_len = 1;
    } else if (c == '\r') {
        s->column = 0;
    } else if (c == '\n') {
        if (s->row + 1 >= s->rows)
            s->overrun = s->overrun || s->other; /* it would scroll */
        else
            s->row++;
    } else if ((c & 0xc0) != 0x80) {
        if (s->column >= s->columns)
            s->overrun = s->overrun || s->other; /* it would wrap */
        else
            s->cells[s->row][s->column++] = (char)(c < 0x80 ? c : '?');
    }
}

static bool shows(const screen *s, const char *text)
{
    for (int i = 0; i < ROWS; i++) {
        char line[COLUMNS + 1];
        memcpy(line, s->cells[i], COLUMNS);
        line[COLUMNS] = 0;
        if (strstr(line, text))
            return true;
    }
    return false;
}

/* ---- A process in it */

static uint64_t now_ms(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void resize(int rows, int columns)
{
    struct winsize size = { .ws_row = (unsigned short)rows, .ws_col = (unsigned short)columns };
    t.s.rows = rows;
    t.s.columns = columns;
    for (int i = 0; i < ROWS; i++)
        blank(&t.s, i, i < rows ? columns : 0);
    assert_int_equal(ioctl(t.master, TIOCSWINSZ, &size), 0);
}

/* What a shell does: the tool runs in a group of its own, so that it can be stopped. */
static _Noreturn void lead(int states, const char *term, char *const argv[])
{
    int status = 0;
    (void)setsid();
    (void)ioctl(t.slave, TIOCSCTTY, 0);
    (void)signal(SIGTTOU, SIG_IGN);
    (void)signal(SIGHUP, SIG_IGN);
    pid_t pid = fork();
    if (pid == 0) {
        (void)setpgid(0, 0);
        (void)tcsetpgrp(t.slave, getpid());
        (void)signal(SIGTTOU, SIG_DFL);
        (void)signal(SIGHUP, SIG_DFL);
        (void)dup2(t.slave, 0);
        (void)dup2(t.slave, 1);
        (void)dup2(t.slave, 2);
        (void)setenv("TERM", term, 1);
        (void)unsetenv("NO_COLOR");
        execv(tool, argv);
        _exit(99);
    }
    (void)close(t.master);
    (void)close(shop_in);
    (void)!write(states, &pid, sizeof pid);
    do {
        if (waitpid(pid, &status, WUNTRACED) == pid)
            (void)!write(states, &status, sizeof status);
    } while (WIFSTOPPED(status));
    _exit(0);
}

static void start(int rows, int columns, const char *term, char *const argv[])
{
    memset(&t, 0, sizeof t);
    clear(&t.s);
    t.master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(t.master >= 0);
    assert_int_equal(grantpt(t.master), 0);
    assert_int_equal(unlockpt(t.master), 0);
    t.slave = open(ptsname(t.master), O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(t.slave >= 0);
    assert_int_equal(tcgetattr(t.slave, &t.before), 0);
    resize(rows, columns);
    int states[2];
    assert_int_equal(pipe2(states, O_CLOEXEC), 0);
    t.leader = fork();
    assert_true(t.leader >= 0);
    if (t.leader == 0)
        lead(states[1], term, argv);
    (void)close(states[1]);
    t.states = states[0];
    assert_int_equal(read(t.states, &t.pid, sizeof t.pid), (ssize_t)sizeof t.pid);
}

/* What has come so far goes on the screen; false: there is no more. */
static bool take(int wait_ms)
{
    char bytes[4096];
    struct pollfd what = { .fd = t.master, .events = POLLIN };
    if (poll(&what, 1, wait_ms) <= 0)
        return false;
    ssize_t got = read(t.master, bytes, sizeof bytes);
    for (ssize_t i = 0; i < got; i++) {
        put(&t.s, (unsigned char)bytes[i]);
        if (t.all_len + 1 < sizeof t.all)
            t.all[t.all_len++] = bytes[i];
    }
    return got > 0;
}

static void wait_for(const char *text, bool there)
{
    uint64_t until = now_ms() + PATIENCE_MS;
    while (shows(&t.s, text) != there) {
        (void)take(50);
        if (now_ms() > until)
            fail_msg("\"%s\" is %s on the screen, whose first lines are\n%.120s\n%.120s\n%.120s",
                     text, there ? "not" : "still", t.s.cells[0], t.s.cells[1], t.s.cells[2]);
    }
}

static void type(const char *keys)
{
    assert_int_equal(write(t.master, keys, strlen(keys)), (ssize_t)strlen(keys));
}

/* A signal, or the key. GCC's ThreadSanitizer forgets a signal that comes while a process
 * enters its first blocking call; there it gets the time to be in it. */
static void strike(int number)
{
#ifdef __SANITIZE_THREAD__
    for (uint64_t until = now_ms() + 500; now_ms() < until;)
        (void)take(50);
#endif
    if (number == CTRL_C)
        type("\003");
    else
        assert_int_equal(kill(t.pid, number), 0);
}

/* The state in which its shell finds it next. */
static int reap(void)
{
    uint64_t until = now_ms() + PATIENCE_MS;
    int status = 0;
    struct pollfd what = { .fd = t.states, .events = POLLIN };
    while (poll(&what, 1, 0) == 0) {
        (void)take(20);
        if (now_ms() > until) {
            (void)kill(t.pid, SIGKILL);
            fail_msg("the tool neither ends nor stops");
        }
    }
    assert_int_equal(read(t.states, &status, sizeof status), (ssize_t)sizeof status);
    while (take(0))
        continue;
    if (!WIFSTOPPED(status))
        assert_int_equal(waitpid(t.leader, NULL, 0), t.leader);
    return status;
}

static void is_as_before(void)
{
    struct termios after;
    assert_int_equal(tcgetattr(t.slave, &after), 0);
    assert_int_equal(after.c_lflag, t.before.c_lflag);
    assert_int_equal(after.c_iflag, t.before.c_iflag);
    assert_int_equal(after.c_oflag, t.before.c_oflag);
    assert_false(t.s.other);
    assert_false(t.s.hidden);
}

static void leave(void)
{
    (void)close(t.master);
    (void)close(t.slave);
    (void)close(t.states);
}

static void finish(int code)
{
    int status = reap();
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), code);
    is_as_before();
    assert_false(t.s.overrun);
    leave();
}

/* ---- The shop */

static void open_shop(void)
{
    int in[2], out[2];
    char byte;
    assert_int_equal(pipe2(in, O_CLOEXEC), 0);
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    shop_pid = fork();
    if (shop_pid == 0) {
        (void)dup2(in[0], 0);
        (void)dup2(out[1], 1);
        execl(shop, shop, store, (char *)NULL);
        _exit(99);
    }
    (void)close(in[0]);
    (void)close(out[1]);
    shop_in = in[1];
    assert_int_equal(read(out[0], &byte, 1), 1); /* ready */
    (void)close(out[0]);
}

static void close_shop(void)
{
    int status;
    (void)close(shop_in);
    assert_int_equal(waitpid(shop_pid, &status, 0), shop_pid);
    assert_int_equal(status, 0);
}

/* The tool outside of a terminal; its exit code, and what it says. */
static int run(char *said, size_t room, char *const argv[])
{
    int out[2], status;
    size_t len = 0;
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    pid_t pid = fork();
    if (pid == 0) {
        int null = open("/dev/null", O_RDWR);
        (void)dup2(null, 0);
        (void)dup2(out[1], 1);
        (void)dup2(null, 2);
        execv(tool, argv);
        _exit(99);
    }
    (void)close(out[1]);
    for (ssize_t got; len + 1 < room && (got = read(out[0], said + len, room - len - 1)) > 0;)
        len += (size_t)got;
    said[len] = 0;
    (void)close(out[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

#define ARGV(...) ((char *[]){ (char *)(uintptr_t)tool, __VA_ARGS__, NULL })
#define TOP "top", "-d", store, "--interval", "200ms"

static void send_bad(const char *count)
{
    char said[4096];
    assert_int_equal(run(said, sizeof said, ARGV("send", "order/7", "{}", "--kind", "bad",
                                                 "--count", (char *)(uintptr_t)count, "-d",
                                                 store)), 0);
}

static size_t count_dead(void)
{
    char said[65536];
    size_t lines = 0;
    (void)run(said, sizeof said, ARGV("find", "--where", "status = dead", "--plain", "-q", "-d",
                                      store));
    for (const char *at = said; *at; at++)
        lines += *at == '\n';
    return lines;
}

static void wait_for_dead(size_t count)
{
    uint64_t until = now_ms() + PATIENCE_MS;
    while (count_dead() < count && now_ms() < until)
        (void)poll(NULL, 0, 20);
    assert_int_equal(count_dead(), count);
}

/* ---- top */

static void test_keys_and_sizes(void **state)
{
    (void)state;
    start(30, 120, "xterm", ARGV(TOP));
    wait_for("holdfast top", true);
    wait_for("order", true);
    assert_true(t.s.other);
    assert_true(t.s.hidden);
    assert_true(t.s.styled);
    wait_for("every 0.2 s", true);
    type("+");
    wait_for("every 0.25 s", true);
    type("\033[A"); /* an arrow is nothing */
    type("?");
    wait_for("look no further", true);
    wait_for("TYPE", false);
    type("?");
    wait_for("look no further", false);
    type("p");
    wait_for("stands still", true);
    type("p");
    wait_for("stands still", false);
    resize(10, 40);
    wait_for("FAILED/s", false);
    assert_true(shows(&t.s, "holdfast top"));
    resize(1, 5);
    wait_for("sent", false);
    resize(30, 120);
    wait_for("FAILED/s", true);
    send_bad("3");
    wait_for("dead 3", true);
    type("q");
    finish(0);
}

static void test_signals_restore(void **state)
{
    static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGSEGV };
    (void)state;
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        start(24, 100, "xterm", ARGV(TOP));
        wait_for("order", true);
        strike(signals[i]);
        int status = reap();
        assert_true(WIFSIGNALED(status) || WIFEXITED(status));
        if (WIFSIGNALED(status))
            assert_int_equal(WTERMSIG(status), signals[i]);
        else
            assert_int_not_equal(WEXITSTATUS(status), 0); /* a sanitizer's end */
        is_as_before();
        leave();
    }
    start(24, 100, "xterm", ARGV(TOP));
    wait_for("order", true);
    strike(CTRL_C);
    finish(130);
}

static void test_stops_and_goes_on(void **state)
{
    (void)state;
    start(24, 100, "xterm", ARGV(TOP));
    wait_for("order", true);
    for (int i = 0; i < 2; i++) {
        strike(SIGTSTP);
        int status = reap();
        assert_true(WIFSTOPPED(status));
        is_as_before();
        clear(&t.s);
        assert_int_equal(kill(t.pid, SIGCONT), 0);
        wait_for("order", true);
        assert_true(t.s.other);
    }
    type("q");
    finish(0);
}

static void test_engine_goes_and_comes(void **state)
{
    (void)state;
    start(24, 100, "xterm", ARGV(TOP));
    wait_for("order", true);
    close_shop();
    wait_for("no engine has the store", true);
    open_shop();
    wait_for("no engine has the store", false);
    type("q");
    finish(0);
}

static void test_terminal_goes(void **state)
{
    (void)state;
    start(24, 100, "xterm", ARGV(TOP));
    wait_for("order", true);
    (void)close(t.slave);
    (void)close(t.master);
    int status; /* or the test runs into its limit */
    assert_int_equal(read(t.states, &status, sizeof status), (ssize_t)sizeof status);
    assert_false(WIFSTOPPED(status));
    assert_int_equal(waitpid(t.leader, NULL, 0), t.leader);
    (void)close(t.states);
}

static void test_plain_terminals(void **state)
{
    char said[65536];
    (void)state;
    start(24, 100, "dumb", ARGV(TOP));
    wait_for("order", true);
    assert_null(memchr(t.all, 033, t.all_len));
    strike(CTRL_C);
    finish(130);
    start(24, 100, "xterm", ARGV(TOP, "--color", "never"));
    wait_for("order", true);
    type("q");
    assert_false(t.s.styled);
    finish(0);
    assert_int_equal(run(said, sizeof said, ARGV(TOP)), 0); /* no terminal: once */
    assert_non_null(strstr(said, "TYPE"));
    assert_null(strchr(said, 033));
    assert_int_equal(run(said, sizeof said, ARGV(TOP, "--json")), 0);
    assert_non_null(strstr(said, "\"done_per_s\":"));
}

/* ---- Questions */

static void ask(const char *change, const char *where, const char *answer, int code)
{
    start(24, 100, "xterm", ARGV((char *)(uintptr_t)change, "--where", (char *)(uintptr_t)where,
                                 "-d", store));
    wait_for("[y/N]", true);
    if (strcmp(answer, "\003") == 0)
        strike(CTRL_C);
    else
        type(answer);
    finish(code);
}

static void test_questions(void **state)
{
    static const char dead[] = "status = dead";
    (void)state;
    send_bad("4");
    wait_for_dead(7); /* with those of top's test */
    ask("purge", dead, "n\n", 6);
    ask("purge", dead, "\n", 6);
    ask("purge", dead, "\004", 6);
    ask("purge", dead, "\003", 130);
    assert_int_equal(count_dead(), 7);
    ask("requeue", dead, "n\n", 6);
    ask("requeue", dead, "\003", 130);
    assert_int_equal(count_dead(), 7);
    ask("requeue", "status = dead", "y\n", 0);
    wait_for_dead(7); /* they are bad still */
    ask("purge", dead, "y\n", 0);
    assert_int_equal(count_dead(), 0);
    assert_int_equal(run((char[4096]){ 0 }, 4096, ARGV("pause", "order", "-d", store)), 0);
    send_bad("2");
    ask("cancel", "status = paused", "no\n", 6);
    ask("cancel", "status = paused", "\004", 6);
    ask("cancel", "status = paused", "yes\n", 0);
    assert_int_equal(count_dead(), 2);
}

int main(int argc, char **argv)
{
    char template[] = "/tmp/holdfast-terminal-XXXXXX", command[300];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys_and_sizes),     cmocka_unit_test(test_signals_restore),
        cmocka_unit_test(test_stops_and_goes_on),  cmocka_unit_test(test_engine_goes_and_comes),
        cmocka_unit_test(test_terminal_goes),      cmocka_unit_test(test_plain_terminals),
        cmocka_unit_test(test_questions),
    };
    if (argc != 3 || !mkdtemp(template))
        return 2;
    tool = argv[1];
    shop = argv[2];
    (void)snprintf(store, sizeof store, "%s/store", template);
    (void)signal(SIGPIPE, SIG_IGN);
    open_shop();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    close_shop();
    (void)snprintf(command, sizeof command, "rm -rf '%s'", template);
    return system(command) != 0 || failed;
}
