package com.segmind.finetune;

import com.google.protobuf.ByteString;
import com.segmind.finetune.v1.Dataset;
import com.segmind.finetune.v1.DownloadWeightsRequest;
import com.segmind.finetune.v1.DownloadWeightsResponse;
import com.segmind.finetune.v1.UploadDatasetRequest;
import io.grpc.Context;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.stub.ClientCallStreamObserver;
import io.grpc.stub.ClientResponseObserver;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.util.HexFormat;
import java.util.Iterator;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.zip.CRC32C;

/** Files through the gateway: datasets in, weights out. */
final class Transfers {
  /** How often in a row a transfer may break without getting any further. */
  static final int ATTEMPTS = 6;

  private final Connection connection;

  Transfers(Connection connection) {
    this.connection = connection;
  }

  /** One attempt to send a file. */
  Dataset send(DatasetFile file, Progress progress) throws IOException, InterruptedException {
    UploadObserver observer = new UploadObserver();
    connection.readyAsync().uploadDataset(observer);
    try (InputStream in = Files.newInputStream(file.path())) {
      boolean open = observer.send(UploadDatasetRequest.newBuilder().setSpec(file.spec()).build());
      long sent = 0;
      // The gateway may answer early, with an error.
      for (byte[] block = in.readNBytes(1 << 20); open && block.length > 0; block = in.readNBytes(1 << 20)) {
        open = observer.send(UploadDatasetRequest.newBuilder().setChunk(ByteString.copyFrom(block)).build());
        sent += block.length;
        if (open) progress.at(sent, file.spec().getSizeBytes());
      }
      return observer.finish();
    } catch (IOException | InterruptedException | RuntimeException error) {
      observer.cancel();
      throw error;
    }
  }

  /** One attempt to fetch what is missing of a file. */
  void fetch(String name, PartialFile file, Progress progress) throws IOException {
    DownloadWeightsRequest request = DownloadWeightsRequest.newBuilder().setName(name).setReadOffset(file.size())
        .setGeneration(file.size() > 0 ? file.generation() : "").build();
    long total = -1;
    ByteString whole = ByteString.EMPTY;
    Context.CancellableContext context = Context.current().withCancellation();
    Context previous = context.attach();
    try {
      for (Iterator<DownloadWeightsResponse> parts = connection.readyBlocking().downloadWeights(request); parts.hasNext();) {
        DownloadWeightsResponse part = parts.next();
        if (total < 0) {
          total = part.getTotalSizeBytes();
          if (file.size() == 0) file.restart(part.getGeneration());
        }
        if (!part.getSha256().isEmpty()) whole = part.getSha256();
        if (part.getChunk().isEmpty()) continue;
        take(file, part);
        progress.at(file.size(), total);
      }
    } catch (StatusRuntimeException error) {
      throw FineTuneGateway.failure(connection, error);
    } finally {
      context.detach(previous);
      context.cancel(null);
    }
    if (file.size() < total) throw GatewayException.of(Status.Code.UNAVAILABLE, "the transfer ended at byte %d of %d", file.size(), total);
    if (total >= 0 && file.size() > total) throw GatewayException.of(Status.Code.DATA_LOSS, "more bytes came than the file has");
    if (!whole.isEmpty() && !whole.equals(ByteString.copyFrom(file.digest())))
      throw GatewayException.of(Status.Code.DATA_LOSS, "the SHA-256 of the file is not what the gateway says");
  }

  private static void take(PartialFile file, DownloadWeightsResponse part) throws IOException {
    if (part.getOffset() != file.size())
      throw GatewayException.of(Status.Code.DATA_LOSS, "byte %d came where byte %d was due", part.getOffset(), file.size());
    ByteBuffer bytes = part.getChunk().asReadOnlyByteBuffer();
    if (part.getCrc32C() != 0) {
      CRC32C sum = new CRC32C();
      sum.update(bytes.duplicate());
      if ((int) sum.getValue() != part.getCrc32C())
        throw GatewayException.of(Status.Code.DATA_LOSS, "the bytes from %d on were damaged on their way", file.size());
    }
    file.append(bytes);
  }

  static Download finished(PartialFile file, long resumed) throws IOException {
    Download done = new Download(file.path(), file.size(), HexFormat.of().formatHex(file.digest()), resumed);
    file.finish();
    return done;
  }

  /** Sends no faster than the gateway takes. */
  private final class UploadObserver implements ClientResponseObserver<UploadDatasetRequest, Dataset> {
    private final CompletableFuture<Dataset> answer = new CompletableFuture<>();
    private ClientCallStreamObserver<UploadDatasetRequest> requests;
    private Dataset dataset;

    @Override
    public void beforeStart(ClientCallStreamObserver<UploadDatasetRequest> stream) {
      requests = stream;
      stream.setOnReadyHandler(this::wake);
    }

    private synchronized void wake() {
      notifyAll();
    }

    /** False once the gateway has answered. */
    synchronized boolean send(UploadDatasetRequest request) throws InterruptedException {
      while (!requests.isReady() && !answer.isDone()) wait();
      if (answer.isDone()) return false;
      requests.onNext(request);
      return true;
    }

    Dataset finish() throws InterruptedException {
      if (!answer.isDone()) requests.onCompleted();
      try {
        return answer.get();
      } catch (ExecutionException failed) {
        throw FineTuneGateway.failure(connection, (StatusRuntimeException) failed.getCause());
      }
    }

    void cancel() {
      requests.cancel("given up", null);
    }

    @Override
    public void onNext(Dataset made) {
      dataset = made;
    }

    @Override
    public void onError(Throwable error) {
      answer.completeExceptionally(error);
      wake();
    }

    @Override
    public void onCompleted() {
      answer.complete(dataset);
      wake();
    }
  }
}
