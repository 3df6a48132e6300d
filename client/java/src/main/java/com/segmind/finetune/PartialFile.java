package com.segmind.finetune;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.channels.OverlappingFileLockException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;

/**
 * A file that is being fetched. Its bytes gather in PATH.part and get the final name only when all are there. What is there is kept for a later
 * attempt, also of another process, together with the version of the source that it is from (PATH.part.generation). Locked against a second
 * fetch of the same path. Not thread-safe.
 */
final class PartialFile implements AutoCloseable {
  private final Path path;
  private final Path part;
  private final Path generationPath;
  private final FileChannel file;
  private MessageDigest digest = sha256();
  private long size;
  private String generation = "";

  PartialFile(Path path) throws IOException {
    this.path = path;
    part = path.resolveSibling(path.getFileName() + ".part");
    generationPath = path.resolveSibling(path.getFileName() + ".part.generation");
    if (Files.isDirectory(path)) throw new FileSystemException(path.toString(), null, "is a folder; name the file");
    // The finished file takes the name, and with it the place of whatever has it.
    if (Files.exists(path) && !Files.isRegularFile(path))
      throw new FileSystemException(path.toString(), null, "is no regular file; name another");
    file = openLocked();
    load();
  }

  static MessageDigest sha256() {
    try {
      return MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException impossible) {
      throw new IllegalStateException(impossible);
    }
  }

  private FileChannel openLocked() throws IOException {
    while (true) {
      FileChannel channel = FileChannel.open(part, StandardOpenOption.CREATE, StandardOpenOption.READ, StandardOpenOption.WRITE);
      Object mine = Files.getAttribute(part, "unix:ino");
      FileLock lock;
      try {
        lock = channel.tryLock();
      } catch (OverlappingFileLockException taken) {
        lock = null;
      } catch (IOException noLocks) {
        return channel; // A file system without locks: go on without one.
      }
      if (lock == null) {
        channel.close();
        throw new FileSystemException(path.toString(), null, "another download to the same path is under way");
      }
      // Another process may have given the file its final name between the opening and the lock.
      if (Files.exists(part) && mine.equals(Files.getAttribute(part, "unix:ino"))) return channel;
      channel.close();
    }
  }

  private void load() throws IOException {
    if (Files.exists(generationPath)) generation = Files.readString(generationPath);
    if (generation.isEmpty()) {
      restart("");
      return;
    }
    ByteBuffer block = ByteBuffer.allocate(1 << 20);
    while (file.read(block, size) > 0) {
      block.flip();
      size += block.remaining();
      digest.update(block);
      block.clear();
    }
  }

  /** Drops what is there: from now on the file is of this version. One without a version cannot be continued later. */
  void restart(String version) throws IOException {
    Files.deleteIfExists(generationPath);
    file.truncate(0);
    digest = sha256();
    size = 0;
    generation = version;
    if (!version.isEmpty()) Files.writeString(generationPath, version);
  }

  void append(ByteBuffer bytes) throws IOException {
    digest.update(bytes.duplicate());
    while (bytes.hasRemaining()) size += file.write(bytes, size);
  }

  long size() {
    return size;
  }

  String generation() {
    return generation;
  }

  Path path() {
    return path;
  }

  byte[] digest() {
    try {
      return ((MessageDigest) digest.clone()).digest();
    } catch (CloneNotSupportedException impossible) {
      throw new IllegalStateException(impossible);
    }
  }

  /** Gives the complete file its name, durably. */
  void finish() throws IOException {
    file.force(true);
    Files.move(part, path, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
    Files.deleteIfExists(generationPath);
    Path folder = path.toAbsolutePath().getParent();
    try (FileChannel entry = FileChannel.open(folder, StandardOpenOption.READ)) {
      entry.force(true);
    }
  }

  @Override
  public void close() throws IOException {
    file.close();
  }
}
