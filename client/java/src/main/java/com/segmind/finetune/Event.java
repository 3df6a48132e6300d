package com.segmind.finetune;

import com.segmind.finetune.v1.FineTune;

/** What a watch tells. {@code fineTune} is null for SYNCED. */
public record Event(Kind kind, FineTune fineTune) {
  public enum Kind {
    /** A job as it was when the watch began. */
    SNAPSHOT,
    /** All jobs that there were have been told; what follows is live. */
    SYNCED,
    /** The job is new. */
    CREATED,
    /** The job has changed, or now matches the filter. */
    UPDATED,
    /** The job matches no longer; this is how it was last seen. */
    LEFT
  }
}
