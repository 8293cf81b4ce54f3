/* node/paths.h - where things are when nobody says: the data folder, the control socket, the roles.
 * cyxd and cyx agree through this file. */
#pragma once
#include <stdbool.h>

#include "base/err.h"

enum {
    NODE_PATH_MAX = 4096,
    NODE_SOCKET_MAX = 108, /* what the kernel's sockaddr_un holds, NUL included */
};

/* The data folder: $STATE_DIRECTORY (a systemd service), /var/lib/cyxd for root, else
 * $XDG_DATA_HOME/cyxd or $HOME/.local/share/cyxd. CYX_EINVAL when none of these is known. */
CYX_MUST_USE int node_default_data_dir(char out[static NODE_PATH_MAX], struct cyx_err *err);

/* The control socket of a node whose data folder was named (`is_chosen`): control.sock in there, so
 * that two nodes on one machine don't meet. Otherwise $RUNTIME_DIRECTORY/control.sock,
 * /run/cyxd/control.sock for root, $XDG_RUNTIME_DIR/cyxd/control.sock, or the data folder again.
 * CYX_EINVAL when it is longer than a socket's name may be. */
CYX_MUST_USE int node_default_control(char out[static NODE_SOCKET_MAX], const char *data_dir,
                                      bool is_chosen, struct cyx_err *err);

/* Where a program that wants to talk to the node of this machine looks: the first of this user's
 * sockets that exists, then the service's. Always fills `out`. */
void node_find_control(char out[static NODE_SOCKET_MAX]);
