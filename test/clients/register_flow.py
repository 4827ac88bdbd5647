"""Make an image without bytes, register a file of a bucket for it and wait for it, with the official SDK. Prints one JSON line.

usage: register_flow.py ENDPOINT AK SK PROJECT_ID IMAGE_URL NAME
"""
import json
import sys
import time

from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.exceptions.exceptions import ClientRequestException
from huaweicloudsdkims.v2 import (
    GlanceCreateImageMetadataRequest,
    GlanceCreateImageMetadataRequestBody,
    GlanceShowImageRequest,
    ImsClient,
    RegisterImageRequest,
    RegisterImageRequestBody,
    ShowJobRequest,
)

endpoint, ak, sk, project_id, image_url, name = sys.argv[1:7]
client = (
    ImsClient.new_builder()
    .with_credentials(BasicCredentials(ak, sk, project_id))
    .with_endpoint(endpoint)
    .build()
)

created = client.glance_create_image_metadata(
    GlanceCreateImageMetadataRequest(
        body=GlanceCreateImageMetadataRequestBody(
            name=name,
            os_version="Ubuntu 18.04 server 64bit",
            container_format="bare",
            disk_format="qcow2",
            min_disk=40,
            min_ram=1024,
            tags=["test=1"],
            visibility="private",
            protected=False,
        )
    )
)


def register(url):
    return client.register_image(
        RegisterImageRequest(image_id=created.id, body=RegisterImageRequestBody(image_url=url))
    )


def ended(job_id):
    deadline = time.monotonic() + 120
    while True:
        job = client.show_job(ShowJobRequest(job_id=job_id))
        if job.status in ("SUCCESS", "FAIL") or time.monotonic() > deadline:
            return job
        time.sleep(0.2)


result = {"created": created.to_dict()}
result["missing"] = ended(register("images:there-is-no-such-file.qcow2").job_id).to_dict()
result["job"] = ended(register(image_url).job_id).to_dict()
result["show"] = client.glance_show_image(GlanceShowImageRequest(image_id=created.id)).to_dict()
try:
    register(image_url)
    result["again"] = None
except ClientRequestException as e:
    result["again"] = e.error_code
print(json.dumps(result, default=str))
