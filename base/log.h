/* base/log.h - structured logging: time, level, object ("link 12"), message. Never an address of a
 * user, a path's ends, a key or plaintext at info or above. One log belongs to one environment; it
 * is safe to write to from any thread. */
#pragma once
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct log;

enum log_level {
    LOG_LEVEL_ERROR, /* the operator must act */
    LOG_LEVEL_WARN,  /* degraded */
    LOG_LEVEL_INFO,  /* life cycle */
    LOG_LEVEL_DEBUG, /* the rest */
};

enum log_format {
    LOG_FORMAT_TEXT,    /* 2026-01-02T03:04:05.678Z info  link 12: NEW -> UP (handshake) */
    LOG_FORMAT_JSON,    /* one object a line: time, level, object, msg */
    LOG_FORMAT_JOURNAL, /* text behind "<N>" priorities, as systemd reads from stderr */
};

enum {
    LOG_LINE_MAX = 1024,        /* longer lines are cut */
    LOG_LINES_PER_SECOND = 200, /* budget above which lines are counted, not written (a stranger
                                   must not fill a disk); errors always pass */
    LOG_RING_LINES = 512,       /* kept in memory for `cyx log` */
};

struct log_line {
    uint64_t seq;    /* from 1, without gaps */
    int64_t wall_ms; /* unix milliseconds */
    enum log_level level;
    const char *object; /* "link 12" */
    const char *msg;
};

struct log_options {
    enum log_level level;
    enum log_format format;
    int fd;                        /* where lines go; -1: only the ring and `sink` */
    int64_t (*wall_ms)(void *arg); /* the clock; NULL: the system's */
    void (*sink)(void *arg,
                 const struct log_line *line); /* may be NULL; called with the lock held */
    void *arg;
    size_t ring_lines; /* 0: none (the simulator's ten thousand nodes) */
};

struct log *log_create(const struct log_options *o); /* NULL when memory is out */
void log_destroy(struct log *l);                     /* NULL is fine */
void log_set_level(struct log *l, enum log_level level);
enum log_level log_get_level(const struct log *l);

/* Writes a line. `l` may be NULL (nothing happens). `object` is a short text such as "link 12". */
__attribute__((format(printf, 4, 5))) void log_write(struct log *l, enum log_level level,
                                                     const char *object, const char *fmt, ...);

bool log_wants(const struct log *l, enum log_level level);

#define log_error(l, object, ...) log_write(l, LOG_LEVEL_ERROR, object, __VA_ARGS__)
#define log_warn(l, object, ...)  log_write(l, LOG_LEVEL_WARN, object, __VA_ARGS__)
#define log_info(l, object, ...)  log_write(l, LOG_LEVEL_INFO, object, __VA_ARGS__)
#define log_debug(l, object, ...)                                                                  \
    do {                                                                                           \
        if (log_wants(l, LOG_LEVEL_DEBUG))                                                         \
            log_write(l, LOG_LEVEL_DEBUG, object, __VA_ARGS__);                                    \
    } while (0)

/* Calls `fn` for the lines in the ring with seq > after, oldest first. Returns the last seq. */
uint64_t log_ring(struct log *l, uint64_t after, void (*fn)(void *arg, const struct log_line *line),
                  void *arg);

/* Lines not written because the budget was used up. */
uint64_t log_suppressed(const struct log *l);

/* "error", "warn", "info", "debug". log_level_parse: 0, or CYX_EINVAL for other words. */
const char *log_level_name(enum log_level level);
int log_level_parse(const char *word, enum log_level *out);
