package com.segmind.finetune;

/** Told now and then how far a transfer is, in bytes; {@code total} is 0 while it is unknown. */
@FunctionalInterface
public interface Progress {
  Progress NONE = (done, total) -> {};

  void at(long done, long total);
}
