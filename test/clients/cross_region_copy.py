"""Copy one image to another region with the official SDK and poll the job where the image is. Prints one JSON line.

usage: cross_region_copy.py ENDPOINT AK SK PROJECT_ID IMAGE_ID NAME REGION
"""
import json
import sys
import time

from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.exceptions.exceptions import ClientRequestException
from huaweicloudsdkims.v2 import (
    CopyImageCrossRegionRequest,
    CopyImageCrossRegionRequestBody,
    ImsClient,
    ShowJobRequest,
)

endpoint, ak, sk, project_id, image_id, name, region = sys.argv[1:8]

client = ImsClient.new_builder().with_credentials(BasicCredentials(ak, sk, project_id)).with_endpoint(endpoint).build()


def copy(target):
    return client.copy_image_cross_region(
        CopyImageCrossRegionRequest(
            image_id=image_id,
            body=CopyImageCrossRegionRequestBody(
                name=name, description="dr copy", region=target, project_name=target, agency_name="ims_copy_agency"
            ),
        )
    )


try:
    copy("atlantis")
    refused = None
except ClientRequestException as error:
    refused = error.error_code

job_id = copy(region).job_id
percents = []
deadline = time.monotonic() + 120
while True:
    job = client.show_job(ShowJobRequest(job_id=job_id))
    percents.append(job.entities.process_percent)
    if job.status in ("SUCCESS", "FAIL") or time.monotonic() > deadline:
        break
    time.sleep(0.2)

print(json.dumps({"refused": refused, "percents": percents, "job": job.to_dict()}))
