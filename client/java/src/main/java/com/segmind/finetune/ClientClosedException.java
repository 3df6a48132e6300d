package com.segmind.finetune;

import io.grpc.Status;

/** The client was closed, or the calling thread interrupted, before the call had ended. */
public final class ClientClosedException extends GatewayException {
  private static final long serialVersionUID = 1;

  ClientClosedException(String message) {
    super(Status.Code.CANCELLED, message, null);
  }

  @Override
  boolean worthRepeating() {
    return false;
  }
}
