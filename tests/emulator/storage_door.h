#pragma once

#include <string>

#include "tests/emulator/http.h"
#include "tests/emulator/job_store.h"
#include "tests/emulator/settings.h"
#include "tests/emulator/signed_urls.h"
#include "tests/emulator/storage.h"

namespace finetune::emulator {

// Whether the call of that name is one of storage: storage_put, dataset_get, weights_get.
bool IsStorageCall(const std::string& call);

// A pre-signed upload and the URL under which the object will be.
struct UploadGrant {
  std::string presigned_url;
  std::string object_url;
};

// Plays the two object stores behind Segmind: S3 for datasets (under /storage/) and Google's for
// weights (under /gcs/, which redirects to /gcs-content/). Thread-safe. Owned by main; what it is
// given must outlive it.
class StorageDoor {
 public:
  StorageDoor(const LiveSettings* settings, const JobStore* jobs, ObjectStore* objects);

  Answer PutObject(const Request& request);
  Answer GetDataset(const Request& request) const;
  Answer GetWeights(const Request& request) const;

  UploadGrant GrantUpload(const std::string& name, const std::string& extension,
                          bool is_public) const;
  // A temporary URL for weights that are not public.
  std::string GrantDownload(const std::string& cloud_storage_url) const;
  // The text of a job with its storage URLs signed, if the settings say so.
  std::string WithSignedUrls(std::string json) const;

  // Opens private datasets to the emulator's own training, which reads them over HTTP as well.
  const std::string& training_token() const { return training_token_; }

 private:
  const LiveSettings* const settings_;
  const JobStore* const jobs_;
  ObjectStore* const objects_;
  const UrlSigner upload_signer_;
  const SignedUrls signed_urls_;
  const std::string training_token_;
};

}  // namespace finetune::emulator
