"""Copy images in their region by the official SDK and wait for each job. Prints one JSON line with what the service answered.

usage: image_copy.py ENDPOINT AK SK PROJECT_ID IMAGE_ID CMK_ID
IMAGE_ID is copied under the key CMK_ID, and that copy without a key.
"""
import json
import sys
import time

from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkims import v2

endpoint, ak, sk, project_id, image_id, cmk_id = sys.argv[1:7]

client = (
    v2.ImsClient.new_builder()
    .with_credentials(BasicCredentials(ak, sk, project_id))
    .with_endpoint(endpoint)
    .build()
)


def copied(source, **fields):
    body = v2.CopyImageInRegionRequestBody(**fields)
    accepted = client.copy_image_in_region(v2.CopyImageInRegionRequest(image_id=source, body=body))
    deadline = time.monotonic() + 120
    while True:
        job = client.show_job(v2.ShowJobRequest(job_id=accepted.job_id))
        if job.status in ("SUCCESS", "FAIL") or time.monotonic() > deadline:
            break
        time.sleep(0.2)
    listed = client.list_images(v2.ListImagesRequest(id=job.entities.image_id)).images
    return {"job": job.to_dict(), "image": listed[0].to_dict() if listed else None}


encrypted = copied(image_id, name="sdk-encrypted", cmk_id=cmk_id)
plain = copied(encrypted["job"]["entities"]["image_id"], name="sdk-plain")
print(json.dumps({"encrypted": encrypted, "plain": plain}, default=str))
