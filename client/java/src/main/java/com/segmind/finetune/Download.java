package com.segmind.finetune;

import java.nio.file.Path;

/**
 * A file that was downloaded.
 *
 * @param sha256 in hexadecimal
 * @param resumedBytes how much of it an earlier attempt had left
 */
public record Download(Path path, long sizeBytes, String sha256, long resumedBytes) {}
