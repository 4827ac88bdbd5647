"""Export an image by the official SDK and wait for its job. Prints one JSON line with the job as the service answered it.

usage: export_image.py ENDPOINT AK SK PROJECT_ID IMAGE_ID BODY
BODY is the body of ExportImage as JSON.
"""
import json
import sys
import time

from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkims import v2

endpoint, ak, sk, project_id, image_id, body = sys.argv[1:7]

client = (
    v2.ImsClient.new_builder()
    .with_credentials(BasicCredentials(ak, sk, project_id))
    .with_endpoint(endpoint)
    .build()
)

accepted = client.export_image(
    v2.ExportImageRequest(image_id=image_id, body=v2.ExportImageRequestBody(**json.loads(body)))
)
deadline = time.monotonic() + 120
while True:
    job = client.show_job(v2.ShowJobRequest(job_id=accepted.job_id))
    if job.status in ("SUCCESS", "FAIL") or time.monotonic() > deadline:
        break
    time.sleep(0.2)
print(json.dumps({"job": job.to_dict()}, default=str))
