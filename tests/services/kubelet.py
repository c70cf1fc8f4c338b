#!/usr/bin/env python3
"""Stands in for scheduler and kubelets on an apiserver that has none: kubelet.py SERVER TOKEN CAFILE

Makes three nodes in three zones, binds each pod to one, says that it runs and is ready, and takes away what is to be
deleted. A pod whose image holds the word `broken` never becomes ready. Real controllers see real pods in all else.
"""
import datetime
import http.client
import json
import ssl
import sys
import time
import urllib.error
import urllib.request

SERVER, TOKEN, CA = sys.argv[1:4]
TLS = ssl.create_default_context(cafile=CA)
ZONES = ["zone-a", "zone-b", "zone-c"]


def ask(method, path, body=None, kind="application/json"):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(SERVER + path, data=data, method=method)
    request.add_header("Authorization", "Bearer " + TOKEN)
    request.add_header("Content-Type", kind)
    try:
        with urllib.request.urlopen(request, context=TLS, timeout=10) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as e:
        if e.code in (404, 409, 422):
            return None
        raise


def now():
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def nodes():
    for i, zone in enumerate(ZONES):
        labels = {"topology.kubernetes.io/zone": zone, "kubernetes.io/hostname": f"node-{i}"}
        ask("POST", "/api/v1/nodes", {"kind": "Node", "apiVersion": "v1", "metadata": {"name": f"node-{i}", "labels": labels}})


def status(pod, ready):
    spec = pod["spec"]
    at = now()
    conditions = [
        {"type": t, "status": s, "lastTransitionTime": at}
        for t, s in (("PodScheduled", "True"), ("Initialized", "True"), ("ContainersReady", ready), ("Ready", ready))
    ]
    containers = [
        {
            "name": c["name"],
            "image": c["image"],
            "imageID": c["image"].split("@")[0].rsplit(":", 1)[0] + "@sha256:" + f"{abs(hash(c['image'])):064x}"[-64:],
            "ready": ready == "True",
            "restartCount": 0 if ready == "True" else 3,
            "state": {"running": {"startedAt": at}} if ready == "True"
            else {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off restarting failed container"}},
        }
        for c in spec["containers"]
    ]
    return {"status": {"phase": "Running", "startTime": at, "conditions": conditions, "containerStatuses": containers}}


def step(turn):
    for pod in (ask("GET", "/api/v1/pods") or {"items": []})["items"]:
        meta = pod["metadata"]
        path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}"
        if meta.get("deletionTimestamp"):
            ask("DELETE", path, {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0})
        elif not pod["spec"].get("nodeName"):
            target = {"apiVersion": "v1", "kind": "Node", "name": f"node-{turn % len(ZONES)}"}
            turn += 1
            ask("POST", path + "/binding", {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": meta["name"]}, "target": target})
        elif not pod.get("status", {}).get("containerStatuses"):
            broken = any("broken" in c["image"] for c in pod["spec"]["containers"])
            ask("PATCH", path + "/status", status(pod, "False" if broken else "True"), "application/merge-patch+json")
    return turn


def main():
    turn, known = 0, False
    while True:
        try:
            if not known:
                nodes()
                known = True
            turn = step(turn)
        # Also an answer that breaks off when the server is killed.
        except (OSError, http.client.HTTPException, ValueError) as e:
            print(now(), e, file=sys.stderr, flush=True)
        time.sleep(0.3)


main()
