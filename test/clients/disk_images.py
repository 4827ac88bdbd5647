"""Make images of disks by one call of the official SDK and wait for its job. Prints one JSON line with what the service answered.

usage: disk_images.py ENDPOINT AK SK PROJECT_ID BODY
BODY is the body of CreateImage as JSON.
"""
import json
import sys
import time

from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkims import v2

endpoint, ak, sk, project_id, body = sys.argv[1:6]

client = (
    v2.ImsClient.new_builder()
    .with_credentials(BasicCredentials(ak, sk, project_id))
    .with_endpoint(endpoint)
    .build()
)

fields = json.loads(body)
if "data_images" in fields:
    fields["data_images"] = [v2.CreateDataImage(**element) for element in fields["data_images"]]
accepted = client.create_image(v2.CreateImageRequest(body=v2.CreateImageRequestBody(**fields)))

deadline = time.monotonic() + 120
while True:
    progress = client.show_job_progress(v2.ShowJobProgressRequest(job_id=accepted.job_id))
    if progress.status in ("SUCCESS", "FAIL") or time.monotonic() > deadline:
        break
    time.sleep(0.2)

job = client.show_job(v2.ShowJobRequest(job_id=accepted.job_id))
entities = job.entities
# What Packer and Terraform do: the image of the job, else that of its first part.
image_id = entities.image_id or entities.sub_jobs_result[0].entities.image_id
listed = client.list_images(v2.ListImagesRequest(id=image_id)).images
print(
    json.dumps(
        {
            "job": job.to_dict(),
            "progress": progress.to_dict(),
            "list": [image.to_dict() for image in listed],
        },
        default=str,
    )
)
