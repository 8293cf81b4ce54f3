/* node/config_check.h - checks of single values, as the schema names them. Each says in `err` what
 * is wrong and what is allowed. */
#pragma once
#include "base/err.h"
#include "mesh/mesh.h"

int node__check_path(const char *value, struct cyx_err *err);      /* "" or absolute */
int node__check_socket(const char *value, struct cyx_err *err);    /* "" or absolute and short */
int node__check_role(const char *value, struct cyx_err *err);      /* a role's name */
int node__check_listen(const char *value, struct cyx_err *err);    /* any address:port */
int node__check_advertise(const char *value, struct cyx_err *err); /* one peers could dial */
int node__check_contact(const char *value, struct cyx_err *err);
int node__check_loopback(const char *value, struct cyx_err *err); /* "" or loopback:port */
int node__check_door(const char *value, struct cyx_err *err);     /* "" or any address:port */
bool node__is_loopback(const struct env_addr *a);
int node__check_family(const char *value, struct cyx_err *err); /* "" or 32 hex digits */
int node__check_group(const char *value, struct cyx_err *err);  /* "" or a group that exists */
int node__check_user(const char *value, struct cyx_err *err);   /* "" or a user that exists */

/* Reads contacts from a file, one a line, # begins a comment. At most `cap`; *n says how many. The
 * message in `err` begins with path:line. */
CYX_MUST_USE int node__contacts_load(const char *path, struct mesh_contact *out, size_t cap,
                                     size_t *n, struct cyx_err *err);
