"""A mesh on this machine: listed relays, a service and users, as one subject of the endpoint benchmark."""
import time

import lab
import net_web

RELAYS = 8  # as many as the rival has
COLD_SERVICES, COLD_EACH = 3, 2  # nodes with addresses nobody has asked for, and how many on each


class Cyx:
    """8 relays, a service, and a user for each path length; on loopback or in a lab.Net's ports."""

    ports_wanted = RELAYS + 4 + COLD_SERVICES

    def __init__(self, place, first_port=None):
        self.place = place
        self.first_port = first_port
        self.n_nodes = 0
        self.n_fresh = 0
        self.relays, self.users = [], {}
        self.service = None
        self.web_port = net_web.free_port()

    def _node(self, name, listed=False, hops=3, port=None, socks=None):
        if port is None and self.first_port is not None:
            port = self.first_port + self.n_nodes
            self.n_nodes += 1
        settings = {"mesh": {"listed": listed}, "log": {"level": "info"}, "onion": {"hops": hops},
                    "socks": {"listen": f"127.0.0.1:{socks}" if socks else ""}}
        listen = f"{self.place.v4(port)}:9001" if port else "127.0.0.1:0"
        bootstrap = [self.relays[0].contact()] if self.relays else []
        node = lab.Node(self.place, name, port, listen, bootstrap, settings)
        node.socks = f"127.0.0.1:{socks}"
        node.inside = lambda argv: self.place.inside(port, argv) if port else argv
        return node

    def up(self):
        for i in range(RELAYS):
            self.relays.append(self._node(f"r{i + 1}", listed=True).start())
        self.service = self._node("service").start()
        for hops in (3, 4):
            self.users[hops] = self._node(f"user{hops}", hops=hops, socks=net_web.free_port()).start()
        for node in [self.service, *self.users.values()]:
            lab.wait_until(f"{node.name} is ready", lambda n=node: n.status()["state"] == "ready")
        # A port of its own for users that come and go.
        self.fresh_port = self.first_port + self.n_nodes if self.first_port is not None else None
        net_web.start(self.place, self.service.inside, "cyx", self.web_port)
        self.host = self._expose(self.service, self.web_port, "web")
        return self

    def _expose(self, node, port, name):
        """A new address of a node, which can be found from outside when this returns."""
        return node.cyx("expose", str(port), "--ports", "80", "--name", name)["address"]

    def new_hosts(self):
        """Addresses that nobody has asked for."""
        made = []
        for i in range(COLD_SERVICES):
            if self.first_port is not None:
                self.n_nodes = RELAYS + 4 + i
            node = self._node(f"cold{i + 1}").start()
            lab.wait_until(f"{node.name} is ready", lambda n=node: n.status()["state"] == "ready")
            port = net_web.free_port()
            net_web.start(self.place, node.inside, node.name, port)
            made += [self._expose(node, port, f"cold{k}") for k in range(COLD_EACH)]
        return made

    def processes(self):
        """(role, pid) of all whose time and memory count."""
        return [*(("relay", r.pid()) for r in self.relays), ("service", self.service.pid()),
                *(("client", u.pid()) for u in self.users.values())]

    def fresh(self):
        """A user that knows nothing: when its process was begun, where its proxy is, and how to
        tell that it is ready."""
        self.n_fresh += 1
        node = self._node(f"fresh{self.n_fresh}", port=self.fresh_port, socks=net_web.free_port())
        begun = time.monotonic()
        node.spawn()
        return node, begun, lambda: node.said("node: ready")

    def end_fresh(self, node):
        node.stop()
