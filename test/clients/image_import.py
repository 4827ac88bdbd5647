"""Import images by the real OpenStack clients: staged, from the web, and by the plain upload they choose without being told.
Prints one JSON line with the ids of the images, by the way that was taken.

usage: image_import.py AUTH_URL USER PASSWORD PROJECT DOMAIN FILE WEB_URI
"""
import contextlib
import io
import json
import re
import sys

import openstack
from glanceclient.shell import OpenStackImagesShell

auth_url, user, password, project, domain, file, web_uri = sys.argv[1:8]

# The command takes whatever is no terminal for the bytes of the image.
sys.stdin = type("Terminal", (io.StringIO,), {"isatty": lambda self: True})()


def glance(*args):
    out = io.StringIO()
    auth = {
        "--os-auth-url": auth_url,
        "--os-username": user,
        "--os-password": password,
        "--os-project-name": project,
        "--os-user-domain-name": domain,
        "--os-project-domain-name": domain,
    }
    with contextlib.redirect_stdout(out):
        OpenStackImagesShell().main([word for pair in auth.items() for word in pair] + list(args))
    return out.getvalue()


def id_of(table):
    return re.search(r"\| id +\| ([0-9a-f-]{36}) ", table).group(1)


described = ["--disk-format", "qcow2", "--container-format", "bare"]
result = {}
result["glance_direct"] = id_of(
    glance("image-create-via-import", "--name", "glance-direct", *described, "--import-method", "glance-direct", "--file", file)
)
result["web_download"] = id_of(
    glance("image-create-via-import", "--name", "web-download", *described, "--import-method", "web-download", "--uri", web_uri)
)

queued = id_of(glance("image-create", "--name", "staged", *described))
glance("image-stage", "--file", file, queued)
result["status_when_staged"] = re.search(r"\| status +\| (\w+) ", glance("image-show", queued)).group(1)
glance("image-import", "--import-method", "glance-direct", queued)
result["stage_and_import"] = queued

queued = id_of(glance("image-create", "--name", "fetched", *described))
glance("image-import", "--import-method", "web-download", "--uri", web_uri, queued)
result["image_import"] = queued

cloud = openstack.connect(
    auth_url=auth_url,
    username=user,
    password=password,
    project_name=project,
    user_domain_name=domain,
    project_domain_name=domain,
    identity_api_version="3",
)
kept = {"disk_format": "qcow2", "container_format": "bare", "filename": file}
result["sdk_import"] = cloud.image.create_image("sdk-import", use_import=True, **kept).id
result["sdk_plain"] = cloud.image.create_image("sdk-plain", **kept).id
result["sdk_plain_status"] = cloud.image.get_image(result["sdk_plain"]).status

print(json.dumps(result))
