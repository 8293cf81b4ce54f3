/* One mutex around budget, ring, sink and descriptor; level and counter are atomic, so that a debug
 * line nobody wants costs one load. Lines go out with one write that never waits: a reader that
 * fell asleep costs lines, which are counted, never the loop. The process ignores SIGPIPE. */
#include "base/log.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/log_internal.h"

struct kept_line {
    int64_t wall_ms;
    enum log_level level;
    char *object; /* one block: object, NUL, msg, NUL; NULL when memory was out */
    const char *msg;
};

struct log {
    struct log_options o;
    atomic_int level;
    atomic_uint_least64_t suppressed; /* in all */
    pthread_mutex_t lock;
    uint64_t last_seq;
    int64_t second;   /* the second that `budget` is for */
    unsigned budget;  /* lines left in it */
    uint64_t n_quiet; /* suppressed since the last line that told of them */
    bool is_torn;     /* a line went out in part: begin the next with a newline */
    struct kept_line *ring;
};

static int64_t now_ms(const struct log *l)
{
    struct timespec ts;
    if (l->o.wall_ms != NULL)
        return l->o.wall_ms(l->o.arg);
    clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

struct log *log_create(const struct log_options *o)
{
    struct log *l = calloc(1, sizeof *l);
    if (l == NULL)
        return NULL;
    l->o = *o;
    l->budget = LOG_LINES_PER_SECOND;
    atomic_init(&l->level, (int)o->level);
    atomic_init(&l->suppressed, 0);
    if (o->ring_lines > 0 && (l->ring = calloc(o->ring_lines, sizeof *l->ring)) == NULL) {
        free(l);
        return NULL;
    }
    pthread_mutex_init(&l->lock, NULL);
    return l;
}

static void count_suppressed(struct log *l)
{
    l->n_quiet++;
    atomic_fetch_add_explicit(&l->suppressed, 1, memory_order_relaxed);
}

/* True when `n` bytes went out whole. */
static bool write_now(struct log *l, const char *bytes, size_t n)
{
    struct pollfd p = { .fd = l->o.fd, .events = POLLOUT };
    /* Standard error may be a blocking pipe shared with others: ask first, don't change its mode.
     */
    if (poll(&p, 1, 0) != 1 || (p.revents & POLLOUT) == 0)
        return false;
    ssize_t done;
    do
        done = write(l->o.fd, bytes, n);
    while (done < 0 && errno == EINTR);
    if (done > 0 && (size_t)done < n)
        l->is_torn = true;
    return done == (ssize_t)n;
}

static void write_line(struct log *l, const struct log_line *raw)
{
    char line[LOG_LINE_MAX + 1] = "\n"; /* room for the newline that closes a torn line */
    if (l->o.fd < 0)
        return;
    size_t n = log__render(line + 1, l->o.format, raw);
    bool was_torn = l->is_torn;
    l->is_torn = false;
    if (!write_now(l, was_torn ? line : line + 1, was_torn ? n + 1 : n)) {
        l->is_torn |= was_torn;
        count_suppressed(l);
    }
}

/* Keeps a line whose texts are clean. */
static void keep_line(struct log *l, const struct log_line *line)
{
    if (l->ring == NULL)
        return;
    struct kept_line *k = &l->ring[line->seq % l->o.ring_lines];
    size_t object_n = strlen(line->object) + 1, msg_n = strlen(line->msg) + 1;
    free(k->object);
    *k = (struct kept_line){ .wall_ms = line->wall_ms, .level = line->level };
    k->object = malloc(object_n + msg_n);
    if (k->object == NULL)
        return;
    memcpy(k->object, line->object, object_n);
    memcpy(k->object + object_n, line->msg, msg_n);
    k->msg = k->object + object_n;
}

/* Writes everywhere; the lock is held. */
static void emit(struct log *l, enum log_level level, int64_t wall_ms, const char *object,
                 const char *msg)
{
    char clean_object[LOG_OBJECT_MAX], clean_msg[LOG_LINE_MAX];
    struct log_line line = {
        .seq = ++l->last_seq, .wall_ms = wall_ms, .level = level, .object = object, .msg = msg
    };
    write_line(l, &line);
    log__clean(clean_object, sizeof clean_object, object);
    log__clean(clean_msg, sizeof clean_msg, msg);
    line.object = clean_object;
    line.msg = clean_msg;
    keep_line(l, &line);
    if (l->o.sink != NULL)
        l->o.sink(l->o.arg, &line);
}

static void emit_quiet(struct log *l, int64_t wall_ms)
{
    char msg[64];
    if (l->n_quiet == 0)
        return;
    snprintf(msg, sizeof msg, "%llu lines suppressed", (unsigned long long)l->n_quiet);
    l->n_quiet = 0; /* first: the line itself may be lost, and counts then */
    emit(l, LOG_LEVEL_WARN, wall_ms, "log", msg);
}

/* Takes one line from the budget. A clock that jumps back opens a new second like any other. */
static bool take_budget(struct log *l, enum log_level level, int64_t wall_ms)
{
    int64_t second = wall_ms / 1000;
    if (second != l->second) {
        l->second = second;
        l->budget = LOG_LINES_PER_SECOND;
        emit_quiet(l, wall_ms);
    }
    if (level == LOG_LEVEL_ERROR)
        return true;
    if (l->budget == 0) {
        count_suppressed(l);
        return false;
    }
    l->budget--;
    return true;
}

void log_write(struct log *l, enum log_level level, const char *object, const char *fmt, ...)
{
    char msg[LOG_LINE_MAX];
    va_list ap;
    if (!log_wants(l, level))
        return;
    pthread_mutex_lock(&l->lock);
    int64_t wall_ms = now_ms(l);
    if (take_budget(l, level, wall_ms)) {
        va_start(ap, fmt);
        if (vsnprintf(msg, sizeof msg, fmt, ap) < 0)
            msg[0] = '\0';
        va_end(ap);
        emit(l, level, wall_ms, object != NULL ? object : "", msg);
    }
    pthread_mutex_unlock(&l->lock);
}

void log_destroy(struct log *l)
{
    if (l == NULL)
        return;
    emit_quiet(l, now_ms(l));
    for (size_t i = 0; l->ring != NULL && i < l->o.ring_lines; i++)
        free(l->ring[i].object);
    free(l->ring);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

void log_set_level(struct log *l, enum log_level level)
{
    if (l != NULL)
        atomic_store_explicit(&l->level, (int)level, memory_order_relaxed);
}

enum log_level log_get_level(const struct log *l)
{
    if (l == NULL)
        return LOG_LEVEL_ERROR;
    return (enum log_level)atomic_load_explicit(&l->level, memory_order_relaxed);
}

bool log_wants(const struct log *l, enum log_level level)
{
    return l != NULL && (int)level <= atomic_load_explicit(&l->level, memory_order_relaxed);
}

/* Copies line `seq` out of the ring; *text owns its words. The lock is held. */
static bool copy_line(const struct log *l, uint64_t seq, struct log_line *line, char **text)
{
    const struct kept_line *k = &l->ring[seq % l->o.ring_lines];
    size_t object_n = k->object != NULL ? strlen(k->object) + 1 : 0;
    *text = NULL;
    if (k->object == NULL || (*text = malloc(object_n + strlen(k->msg) + 1)) == NULL)
        return false;
    memcpy(*text, k->object, object_n + strlen(k->msg) + 1);
    *line = (struct log_line){ .seq = seq,
                               .wall_ms = k->wall_ms,
                               .level = k->level,
                               .object = *text,
                               .msg = *text + object_n };
    return true;
}

uint64_t log_ring(struct log *l, uint64_t after, void (*fn)(void *arg, const struct log_line *line),
                  void *arg)
{
    if (l == NULL)
        return 0;
    pthread_mutex_lock(&l->lock);
    const uint64_t last = l->last_seq;
    for (uint64_t seq = after + 1; l->ring != NULL && seq <= last && seq > after; seq++) {
        struct log_line line;
        cleanup_free char *text = NULL;
        /* What was overwritten before, or by lines that fn itself wrote, is skipped. */
        if (l->last_seq >= l->o.ring_lines && seq <= l->last_seq - l->o.ring_lines)
            seq = l->last_seq - l->o.ring_lines + 1;
        if (seq > last || !copy_line(l, seq, &line, &text))
            continue;
        pthread_mutex_unlock(&l->lock); /* fn may log */
        fn(arg, &line);
        pthread_mutex_lock(&l->lock);
    }
    pthread_mutex_unlock(&l->lock);
    return last;
}

uint64_t log_suppressed(const struct log *l)
{
    return l != NULL ? atomic_load_explicit(&l->suppressed, memory_order_relaxed) : 0;
}

static const char *const level_names[] = { "error", "warn", "info", "debug" };

const char *log_level_name(enum log_level level)
{
    return (unsigned)level < 4 ? level_names[level] : "invalid";
}

int log_level_parse(const char *word, enum log_level *out)
{
    for (unsigned i = 0; i < 4; i++) {
        if (strcmp(word, level_names[i]) == 0) {
            *out = (enum log_level)i;
            return 0;
        }
    }
    return CYX_EINVAL;
}
