package com.segmind.finetune;

import io.grpc.Status;

/** No connection came about within the connect timeout; the message says why. */
public final class UnreachableException extends GatewayException {
  private static final long serialVersionUID = 1;

  UnreachableException(String message) {
    super(Status.Code.UNAVAILABLE, message, null);
  }

  @Override
  boolean worthRepeating() {
    return false;
  }
}
