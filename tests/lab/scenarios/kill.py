"""kill -9 at 200 random instants: the same identity and remembered peers after every restart

CYX_KILLS changes how many, CYX_SEED the instants."""
import os
import random
import shutil
import time

import lab


def check_back(report, node, wanted, number):
    """Starts the node and waits until it has its identity, a remembered peer and a link to it. The
    configuration names no peer, so that whatever it knows comes from disk."""
    try:
        node.start()
        found = node.id()
        if found != wanted:
            report.check("same_identity", False, f"after kill {number}: {found}, was {wanted}")
            return False
        lab.wait_until("a link from memory", node.peers, 20)
    except lab.Failed as why:
        report.check("comes_back", False, f"after kill {number}: {why}")
        return False
    return True


def newborn(report, place, bootstrap, rng):
    """Kills a node as soon as it has told its id for the first time: that id must stay."""
    node = lab.Node(place, "newborn", bootstrap=[bootstrap])
    shutil.rmtree(node.data, ignore_errors=True)
    node.spawn()
    time.sleep(rng.random() * 0.03)
    node.kill() # before it told anybody: whatever id comes next is as good
    node.start()
    told = node.id()
    node.kill()
    node.start()
    found = node.id()
    node.kill()
    if found != told:
        report.check("newborn_keeps_its_id", False, f"told {told or 'none'}, then {found}")
    return found == told


def run(report):
    kills = int(os.environ.get("CYX_KILLS", "200"))
    seed = int(os.environ.get("CYX_SEED", str(random.randrange(1 << 32))))
    rng = random.Random(seed)
    report.figure("seed", seed)
    with lab.Place() as place:
        peer = lab.Node(place, "peer").start()
        node = lab.Node(place, "node", bootstrap=[peer.contact()]).start()
        lab.wait_until("the first link", node.peers)
        wanted = node.id()
        # Remembered: a clean stop flushes; from here on only kills.
        node.stop()
        node.settings["mesh"]["bootstrap"] = []
        began, done = time.monotonic(), 0
        life = 0.5
        while done < kills:
            node.spawn()
            time.sleep(rng.random() * life)
            if node.child.poll() is not None:
                report.check("comes_back", False, f"after kill {done}: {node.tail()}")
                return
            node.kill()
            done += 1
            start = time.monotonic()
            if not check_back(report, node, wanted, done):
                return
            life = 0.9 * life + 0.1 * 1.5 * (time.monotonic() - start)
            node.kill()
        report.figure("kills", done)
        report.figure("restart_to_link_s", life / 1.5, "s")
        report.figure("seconds", time.monotonic() - began, "s")
        report.check("same_identity", True)
        report.check("comes_back", True, "with a link from memory, every time")
        report.check("newborn_keeps_its_id", all(newborn(report, place, peer.contact(), rng)
                                                 for _ in range(max(1, kills // 10))))
        peer.stop()
