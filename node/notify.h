/* node/notify.h - words to the service manager (sd_notify's protocol: a datagram to the socket that
 * $NOTIFY_SOCKET names). Without one, nothing happens. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

/* Connects; before the sandbox closes the file system. */
void node_notify_open(void);
void node_notify_close(void);

/* "READY=1", "STOPPING=1", "STATUS=...", several separated by newlines. Never blocks, never fails
 * loudly: a lost word costs a status line. */
void node_notify(const char *words);

/* Milliseconds between two signs of life that the manager asks for; 0: it asks for none. */
uint64_t node_notify_watchdog_ms(void);

/* True when standard error is the journal's stream ($JOURNAL_STREAM names its device and inode). */
bool node_notify_is_journal(int fd);
