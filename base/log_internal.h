/* base/log_internal.h - how a log line becomes bytes: shared by log.c and its tests. */
#pragma once
#include "base/log.h"

enum { LOG_OBJECT_MAX = 64 /* bytes of `object` that are kept, NUL included */ };

/* Copies `raw` as printable UTF-8: control characters and those that turn the direction of writing
 * come as \xNN or \u{NNNN}, bytes that are no UTF-8 as U+FFFD. Whatever a stranger got into a
 * message, it can't start a new line or move a terminal's cursor. Cut to `cap` bytes with NUL,
 * between characters. Returns the length. */
size_t log__clean(char *out, size_t cap, const char *raw);

/* Builds the line (with its newline, at most LOG_LINE_MAX bytes, no NUL) from `raw` texts; returns
 * its length. */
size_t log__render(char out[static LOG_LINE_MAX], enum log_format format,
                   const struct log_line *raw);
