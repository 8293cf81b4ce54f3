/* host/run/run.h - between the files of cyx-run. */
#pragma once
#include "base/err.h"
#include "host/isolation/isolation.h"
#include "host/run/config.h"
#include "host/run/options.h"

/* Verbs: 0 or the process's exit status, or a negative code with `err`. */
int verb_create(struct iso_engine *e, const struct options *o, struct cyx_err *err);
int verb_run(struct iso_engine *e, const struct options *o, struct cyx_err *err);
int verb_exec(struct iso_engine *e, const struct options *o, struct cyx_err *err);
int verb_start(struct iso_engine *e, const struct options *o, struct cyx_err *err);
int verb_state(struct iso_engine *e, const struct options *o, struct cyx_err *err);
int verb_kill(struct iso_engine *e, const struct options *o, struct cyx_err *err);
int verb_delete(struct iso_engine *e, const struct options *o, struct cyx_err *err);
int verb_pause(struct iso_engine *e, const struct options *o, struct cyx_err *err);
int verb_resume(struct iso_engine *e, const struct options *o, struct cyx_err *err);
int verb_ps(struct iso_engine *e, const struct options *o, struct cyx_err *err);
int verb_events(struct iso_engine *e, const struct options *o, struct cyx_err *err);
int verb_list(struct iso_engine *e, const struct options *o, struct cyx_err *err);
int verb_spec(struct iso_engine *e, const struct options *o, struct cyx_err *err);
int verb_features(struct iso_engine *e, const struct options *o, struct cyx_err *err);

/* bundle.c: which bundle a container was made from (the absolute path), kept beside its state. */
int bundle_save(const struct options *o, const char *id, const char *bundle, struct cyx_err *err);
int bundle_path(const struct options *o, const char *id, char *out, size_t cap,
                struct cyx_err *err);
int write_pid_file(const char *path, pid_t pid, struct cyx_err *err);
/* The state object of the runtime specification; owned by the caller. */
json_t *state_json(struct iso_container *c, const char *bundle, json_t *config);

/* console.c: sends the pty's master to the socket at `path`. */
int console_send(const char *path, int master, struct cyx_err *err);
/* Carries bytes between this terminal and `master` until the process behind `pidfd` has ended. */
void console_carry(int master, int pidfd);
int exit_status(const struct iso_exit *end);

/* hooks.c: runs hooks.KIND of `config` on the host, the state on their standard input. */
int hooks_run(json_t *config, const char *kind, struct iso_container *c, const char *bundle,
              struct cyx_err *err);
