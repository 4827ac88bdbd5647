"""Import, poll, list, show and delete one image with the official SDK. Prints one JSON line with what the service answered.

usage: import_flow.py ENDPOINT AK SK PROJECT_ID IMAGE_URL NAME MIN_DISK [OS_VERSION]
"""
import json
import sys
import time

from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.exceptions.exceptions import ClientRequestException
from huaweicloudsdkims.v2 import (
    CreateImageRequest,
    CreateImageRequestBody,
    GlanceDeleteImageRequest,
    GlanceShowImageRequest,
    ImsClient,
    ListImagesRequest,
    ShowImageQuotaRequest,
    ShowJobProgressRequest,
    ShowJobRequest,
)

endpoint, ak, sk, project_id, image_url, name, min_disk = sys.argv[1:8]
keep = len(sys.argv) > 8 and sys.argv[8] == "keep"

client = (
    ImsClient.new_builder()
    .with_credentials(BasicCredentials(ak, sk, project_id))
    .with_endpoint(endpoint)
    .build()
)

created = client.create_image(
    CreateImageRequest(
        body=CreateImageRequestBody(
            name=name,
            description="imported by the official SDK",
            image_url=image_url,
            min_disk=int(min_disk),
            os_version="Debian GNU/Linux 10.7.0 64bit",
            tags=["team.platform"],
        )
    )
)

seen = []
deadline = time.monotonic() + 120
while True:
    job = client.show_job(ShowJobRequest(job_id=created.job_id))
    if not seen or seen[-1] != job.status:
        seen.append(job.status)
    if job.status in ("SUCCESS", "FAIL") or time.monotonic() > deadline:
        break
    time.sleep(0.2)

result = {
    "job_id": created.job_id,
    "statuses": seen,
    "job": job.to_dict(),
    "progress": client.show_job_progress(ShowJobProgressRequest(job_id=created.job_id)).to_dict(),
}
if job.status == "SUCCESS":
    image_id = job.entities.image_id
    result["list"] = [i.to_dict() for i in client.list_images(ListImagesRequest(id=image_id)).images]
    result["show"] = client.glance_show_image(GlanceShowImageRequest(image_id=image_id)).to_dict()
    result["quota"] = client.show_image_quota(ShowImageQuotaRequest()).to_dict()
    if not keep:
        client.glance_delete_image(GlanceDeleteImageRequest(image_id=image_id))
        result["list_after_delete"] = [
            i.to_dict() for i in client.list_images(ListImagesRequest(id=image_id)).images
        ]
        try:
            client.glance_show_image(GlanceShowImageRequest(image_id=image_id))
            result["show_after_delete"] = 200
        except ClientRequestException as e:
            result["show_after_delete"] = e.status_code

print(json.dumps(result, default=str))
