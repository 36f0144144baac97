/* screen.c - a terminal that is drawn over and over: frames, keys, its size.
 *
 * Happy path: open takes the terminal (termios, other screen), draw writes a frame from
 * the upper left corner, each line cleared to its end; key waits for a byte or a signal.
 *
 * A signal that ends the process puts the terminal back in its handler, then takes its
 * usual course; one that stops it does the same, and takes the terminal again when the
 * process goes on. A terminal that is gone ends the program. One thread. */
#include "tools/screen.h"
#include "tools/times.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

static struct termios         before; /* as it was when we came */
static volatile sig_atomic_t  taken;  /* it is ours now */
static int                    bell[2] = { -1, -1 }; /* a signal wants to be seen */

static const int ends[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE, SIGALRM, SIGUSR1,
                            SIGUSR2, SIGSEGV, SIGBUS, SIGABRT, SIGILL, SIGFPE, SIGXCPU,
                            SIGXFSZ };

static bool write_all(const void *data, size_t len)
{
    const char *at = data;
    while (len > 0) {
        ssize_t done = write(STDOUT_FILENO, at, len);
        if (done < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            struct pollfd room = { .fd = STDOUT_FILENO, .events = POLLOUT };
            (void)poll(&room, 1, 1000);
        } else if (done < 0 && errno != EINTR) {
            return false;
        }
        if (done > 0) {
            at += done;
            len -= (size_t)done;
        }
    }
    return true;
}

/* Both may be called by a handler. */
static void take(void)
{
    static const char enter[] = "\033[?1049h\033[?25l\033[2J";
    struct termios raw = before;
    raw.c_iflag &= ~(tcflag_t)(IXON | ICRNL | INLCR | IGNCR);
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO | ISIG | IEXTEN);
    raw.c_oflag |= OPOST | ONLCR;
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    taken = 1;
    (void)tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
    (void)write_all(enter, sizeof enter - 1);
}

static void give(void)
{
    static const char leave[] = "\033[0m\033[?25h\033[?1049l";
    if (!taken)
        return;
    taken = 0;
    if (write_all(leave, sizeof leave - 1))
        (void)tcsetattr(STDIN_FILENO, TCSADRAIN, &before);
    else
        (void)tcsetattr(STDIN_FILENO, TCSANOW, &before);
}

static void usual_course(int number)
{
    sigset_t one;
    (void)signal(number, SIG_DFL);
    (void)sigemptyset(&one);
    (void)sigaddset(&one, number);
    (void)raise(number);
    (void)sigprocmask(SIG_UNBLOCK, &one, NULL);
}

static void on_end(int number)
{
    give();
    usual_course(number);
}

static void ring(void)
{
    int err = errno;
    (void)!write(bell[1], "", 1); /* a full pipe rings already */
    errno = err;
}

static void on_news(int number)
{
    if (number == SIGCONT && !taken)
        take();
    ring();
}

static void on_stop(int number)
{
    give();
    usual_course(number);
    /* It goes on here. */
    struct sigaction again = { .sa_handler = on_stop };
    (void)sigaction(number, &again, NULL);
    if (!taken)
        take();
    ring();
}

static void listen_to(int number, void (*handler)(int))
{
    struct sigaction action = { .sa_handler = handler }, now;
    (void)sigemptyset(&action.sa_mask);
    action.sa_flags = SA_RESTART;
    if (sigaction(number, NULL, &now) == 0 && now.sa_handler == SIG_IGN && number != SIGPIPE)
        return; /* nohup and the like */
    (void)sigaction(number, &action, NULL);
}

bool cli_screen_can(void)
{
    const char *term = getenv("TERM");
    return term != NULL && *term != 0 && strcmp(term, "dumb") != 0 && isatty(STDIN_FILENO) == 1
           && isatty(STDOUT_FILENO) == 1;
}

bool cli_screen_open(void)
{
    if (tcgetattr(STDIN_FILENO, &before) != 0 || pipe2(bell, O_CLOEXEC | O_NONBLOCK) != 0)
        return false;
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        listen_to(ends[i], on_end);
    (void)signal(SIGTTOU, SIG_IGN); /* it is put back from the background, too */
    listen_to(SIGTSTP, on_stop);
    listen_to(SIGCONT, on_news);
    listen_to(SIGWINCH, on_news);
    take();
    return true;
}

void cli_screen_close(void)
{
    give();
}

static void size_of(size_t *rows, size_t *columns)
{
    struct winsize size;
    *rows = 24;
    *columns = 80;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 0 && size.ws_col > 0) {
        *rows = size.ws_row;
        *columns = size.ws_col;
    }
}

/* ---- Frames */

/* Does what the environment says allow UTF-8? */
static bool speaks_utf8(void)
{
    static const char *const names[] = { "LC_ALL", "LC_CTYPE", "LANG" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *value = getenv(names[i]);
        if (value != NULL && *value != 0)
            return strcasestr(value, "utf-8") != NULL || strcasestr(value, "utf8") != NULL;
    }
    return false;
}

/* As many characters as fit; escapes take no room. */
static void add_line(cli_buffer *frame, const uint8_t *at, const uint8_t *end, size_t columns)
{
    bool plain = !speaks_utf8();
    size_t width = 0;
    while (at < end) {
        if (*at == 033) {
            const uint8_t *from = at;
            while (at < end && *at != 'm')
                at++;
            at += at < end;
            cli_buffer_add(frame, from, (size_t)(at - from));
            continue;
        }
        const uint8_t *from = at++;
        while (at < end && (*at & 0xc0) == 0x80)
            at++;
        if (width++ >= columns)
            continue; /* escapes behind it still count */
        if (plain && *from >= 0x80)
            cli_buffer_byte(frame, '?');
        else
            cli_buffer_add(frame, from, (size_t)(at - from));
    }
}

bool cli_screen_draw(hf_bytes lines)
{
    cli_buffer frame = { 0 };
    size_t rows, columns, row = 0;
    const uint8_t *at = lines.data, *end = at + lines.len;
    size_of(&rows, &columns);
    cli_buffer_text(&frame, "\033[H");
    for (; at < end && row < rows; row++) {
        const uint8_t *line = memchr(at, '\n', (size_t)(end - at));
        line = line != NULL ? line : end;
        if (row > 0)
            cli_buffer_text(&frame, "\r\n");
        add_line(&frame, at, line, columns);
        cli_buffer_text(&frame, "\033[K");
        at = line + 1;
    }
    if (row < rows)
        cli_buffer_text(&frame, "\033[J");
    bool drawn = write_all(frame.data, frame.len);
    cli_buffer_free(&frame);
    return drawn;
}

/* ---- Keys */

static struct {
    uint8_t bytes[64];
    size_t  len, at;
    enum { PLAIN, ESCAPE, SEQUENCE } now;
} typed;

/* The next of what was typed; an arrow or the like is passed over: ESC, mostly '[' or 'O',
 * and so on to a letter or '~'. */
static int next_key(void)
{
    while (typed.at < typed.len) {
        uint8_t byte = typed.bytes[typed.at++];
        if (typed.now == ESCAPE) {
            typed.now = byte == '[' || byte == 'O' ? SEQUENCE : PLAIN;
        } else if (typed.now == SEQUENCE) {
            if (byte >= '@' && byte <= '~')
                typed.now = PLAIN;
        } else if (byte == 033) {
            typed.now = ESCAPE;
        } else if (byte != 0) {
            return byte;
        }
    }
    return CLI_KEY_NONE;
}

static bool read_keys(void)
{
    ssize_t got = read(STDIN_FILENO, typed.bytes, sizeof typed.bytes);
    typed.at = 0;
    typed.len = got > 0 ? (size_t)got : 0;
    return got > 0 || (got < 0 && (errno == EINTR || errno == EAGAIN));
}

int cli_screen_key(uint64_t wait_ms)
{
    uint64_t until = cli_now_ns() / 1000000 + wait_ms;
    char rung[16];
    for (;;) {
        uint64_t now = cli_now_ns() / 1000000;
        int key = next_key();
        if (key == 'Z' - '@') /* it is no signal here */
            (void)raise(SIGTSTP);
        else if (key != CLI_KEY_NONE)
            return key;
        struct pollfd what[2] = { { .fd = STDIN_FILENO, .events = POLLIN },
                                  { .fd = bell[0], .events = POLLIN } };
        int ready = poll(what, 2, now < until ? (int)(until - now) : 0);
        if (ready < 0 && errno != EINTR)
            return CLI_KEY_GONE;
        if (ready > 0 && what[1].revents) {
            while (read(bell[0], rung, sizeof rung) > 0)
                continue;
            return CLI_KEY_REDRAW;
        }
        if (ready > 0 && what[0].revents && !read_keys())
            return CLI_KEY_GONE;
        if (ready <= 0 && cli_now_ns() / 1000000 >= until)
            return CLI_KEY_NONE;
    }
}
