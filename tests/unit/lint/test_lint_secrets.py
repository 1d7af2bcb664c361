"""What is left out of what a run keeps of objects."""

import json
import time

import pytest
import yaml

from chroma_qualify.lint.secrets import LEFT_OUT, hidden, redacted

TOKEN = "s3cret-t0ken"


@pytest.mark.parametrize(
    "text",
    [
        f"--token={TOKEN}",
        f"--api-key {TOKEN} --port 1",
        f"      --token\n      {TOKEN}\n",  # arguments, as described
        f"      DB_PASSWORD:   {TOKEN}\n      PORT: 1\n",  # a variable, as described
        f"curl -H 'Authorization: Bearer {TOKEN}' http://db",
        f"curl -H 'X-Chroma-Token: {TOKEN}' http://db",
        f"http://me:{TOKEN}@db:8000",
        f"export AWS_SECRET_ACCESS_KEY={TOKEN}",
        f"auth:\n  token: two words {TOKEN}\n",
        f"auth:\n  token: |\n    {TOKEN}\n    {TOKEN}\nport: 1\n",
        f"auth: {{token: {TOKEN}, port: 1}}",
        f"env:\n- name: API_KEY\n  value: {TOKEN}\n",
        f'{{"name": "API_KEY", "value": "{TOKEN}"}}',
        f'{{"password": "a \\" {TOKEN}", "port": 1}}',
        f"-----BEGIN RSA PRIVATE KEY-----\n{TOKEN}\n-----END RSA PRIVATE KEY-----\n",
    ],
)
def test_a_text_without_its_secret(text):
    assert TOKEN not in hidden(text)
    assert LEFT_OUT in hidden(text)
    assert ("port" in text.lower()) == ("port" in hidden(text).lower())
    assert hidden(hidden(text)) == hidden(text)


@pytest.mark.parametrize(
    "text",
    [
        "port: 8000\npersist_path: /data\ncors_allow_origins: [http://a:1]\n",
        'MountVolume.SetUp failed for volume "token" : secret "chroma-auth" not found',
        "Failed to fetch anonymous token: unexpected status 403",
        "API_KEY:  <set to the key 'k' in secret 's'>  Optional: false",
        "--token=$(TOKEN) --token-file=/run/token token=${TOKEN} Bearer $TOKEN",
        "automountServiceAccountToken: false\nsecretName: s\nsecretKeyRef: {key: token, name: auth}\n",
        "token: /run/token\npassword:\n  from: file\n",
    ],
)
def test_a_text_without_secrets_stays(text):
    assert hidden(text) == text


def test_objects_without_their_secrets():
    pod = {
        "containers": [
            {
                "args": ["--token", TOKEN, "--port", "8000"],
                "command": ["sh", "-c", f"chroma run --api-key={TOKEN}"],
                "env": [
                    {"name": "API_KEY", "value": TOKEN},
                    {"name": "MODE", "value": "plain"},
                    {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "auth", "key": "token"}}},
                ],
                "livenessProbe": {"httpGet": {"httpHeaders": [{"name": "Authorization", "value": TOKEN}]}},
            }
        ],
        "volumes": [{"name": "v", "secret": {"secretName": "auth"}}],
    }
    last = {"kubectl.kubernetes.io/last-applied-configuration": json.dumps({"spec": pod})}
    objects = [
        {"kind": "Pod", "metadata": {"name": "p", "annotations": last}, "spec": pod},
        {
            "kind": "ConfigMap",
            "metadata": {"name": "c"},
            "data": {"c.yaml": f"port: 8000\ntoken: {TOKEN}\n", "TOKEN": TOKEN, "x.json": json.dumps({"token": TOKEN})},
        },
        {"kind": "Secret", "metadata": {"name": "s", "annotations": {"a": TOKEN}}, "stringData": {"any": TOKEN}},
    ]
    told = redacted({"kind": "List", "items": objects})
    text = yaml.safe_dump(told)
    assert TOKEN not in text
    assert TOKEN in repr(objects), "the objects themselves were changed"
    container = told["items"][0]["spec"]["containers"][0]
    assert container["args"] == ["--token", LEFT_OUT, "--port", "8000"]
    assert container["env"][1:] == pod["containers"][0]["env"][1:]
    assert told["items"][0]["spec"]["volumes"] == pod["volumes"]
    assert told["items"][1]["data"]["c.yaml"] == f"port: 8000\ntoken: {LEFT_OUT}\n"
    assert told["items"][2]["stringData"] == {"any": LEFT_OUT}


def test_a_hostile_text_takes_no_time():
    begin = time.process_time()
    for letters in ("a-", "token", "://a", ", ", "token: |\n  a\n", "-----BEGIN PRIVATE KEY-----", "name: token "):
        hidden(letters * 5000)
    assert time.process_time() - begin < 30
