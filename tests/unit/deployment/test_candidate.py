"""Chroma is found by what it is, whatever its owner calls it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from chroma_qualify.deployment.objects import Candidate
from chroma_qualify.errors import UsageError

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: vectors, namespace: ours}
spec:
  selector: {matchLabels: {component: vectors}}
  template:
    metadata: {labels: {component: vectors, tier: data}}
    spec:
      containers:
        - name: proxy
          image: docker.io/library/nginx:1.27
          ports: [{name: web, containerPort: 80}]
        - name: engine
          image: registry.example/mirror/chromadb/chroma:1.5.9@sha256:00
          ports: [{name: api, containerPort: 9000}]
          volumeMounts: [{name: tmp, mountPath: /tmp}, {name: conf, mountPath: /c}, {name: data, mountPath: /data/}]
      volumes:
        - {name: tmp, emptyDir: {}}
        - {name: conf, persistentVolumeClaim: {claimName: vectors-conf}}
        - {name: data, persistentVolumeClaim: {claimName: vectors-data}}
"""
SERVICES = """
apiVersion: v1
kind: Service
metadata: {name: peers}
spec: {clusterIP: None, selector: {component: vectors}, ports: [{port: 9000}]}
---
apiVersion: v1
kind: Service
metadata: {name: vectors-api}
spec:
  selector: {component: vectors, tier: data}
  ports: [{name: web, port: 81, targetPort: web}, {name: db, port: 80, targetPort: api}]
---
apiVersion: v1
kind: Service
metadata: {name: other}
spec: {selector: {component: web}, ports: [{port: 80, targetPort: 9000}]}
"""
STATEFUL_SET = """
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      containers:
        - name: server
          image: internal/vector-store:7
          command: [/usr/bin/chroma, run, /etc/config.yaml]
          volumeMounts: [{name: store, mountPath: /var/store}]
  volumeClaimTemplates:
    - metadata: {name: store}
---
apiVersion: v1
kind: Service
metadata: {name: db}
spec: {clusterIP: None, selector: {app: db}, ports: [{port: 8000}]}
"""
WEB = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: chromadb}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: chromadb, image: nginx:1, ports: [{containerPort: 8000}]}]}
"""
HPA = """
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: %s}
spec: {scaleTargetRef: {kind: Deployment, name: %s}}
"""


def candidate(*texts: str) -> Candidate:
    return Candidate.from_objects(list(yaml.safe_load_all("\n---\n".join(texts))), Path("there"))


def test_other_names_a_sidecar_and_several_services():
    found = candidate(WEB, DEPLOYMENT, SERVICES, HPA % ("wrong", "chromadb"), HPA % ("right", "vectors"))
    assert found.deployment["metadata"]["name"] == "vectors"
    assert found.name == "deployment/vectors"
    assert (found.container, found.container_port) == ("engine", 9000)
    assert (found.service, found.service_port) == ("vectors-api", 80)
    assert found.claim == "vectors-data"
    assert found.selector == {"component": "vectors"}
    assert found.label_selector == "component=vectors"
    assert found.namespace == "ours"
    assert found.hpa is not None
    assert found.hpa["metadata"]["name"] == "right"


def test_stateful_set_with_a_claim_template_a_headless_service_and_an_unknown_image():
    found = candidate(WEB, STATEFUL_SET)
    assert found.name == "statefulset/db"
    assert found.claim == "store-db-0"
    assert (found.service, found.service_port, found.container_port) == ("db", 8000, 8000)
    assert found.hpa is None
    assert found.namespace is None


def test_a_probe_tells_chroma_too():
    text = DEPLOYMENT.replace("registry.example/mirror/chromadb/chroma:1.5.9@sha256:00", "internal/store:1")
    with pytest.raises(UsageError, match="no Chroma workload in there"):
        candidate(text, SERVICES)
    probed = text.replace(
        "- name: engine", "- name: engine\n          readinessProbe: {httpGet: {path: /api/v1/heartbeat}}"
    )
    assert candidate(probed, SERVICES).container == "engine"


def test_no_service_is_said():
    with pytest.raises(UsageError, match="no Service leads to Deployment vectors"):
        candidate(DEPLOYMENT, SERVICES.replace("component: vectors", "component: vector"))


def test_a_service_that_is_meant_for_it_is_taken_though_it_leads_nowhere():
    found = candidate(DEPLOYMENT, SERVICES.replace("component: vectors", "component: chroma"))
    assert (found.service, found.service_port, found.container_port) == ("peers", 9000, 9000)  # the linter refuses it


def test_the_digest_is_of_the_objects_not_of_their_writing():
    one = candidate(STATEFUL_SET)
    assert one.digest == candidate(STATEFUL_SET.replace("name: db\n", "name:  db\n")).digest
    assert one.digest != candidate(STATEFUL_SET.replace("store:7", "store:8")).digest
