package com.segmind.finetune;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import com.google.rpc.QuotaFailure;
import com.google.rpc.ResourceInfo;
import com.google.rpc.RetryInfo;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** A call that failed. */
public class GatewayException extends RuntimeException {
  private static final long serialVersionUID = 1;
  private static final String DOMAIN = "segmind-finetune-gateway";

  /** A field of the request that is wrong, and why. */
  public record Violation(String field, String description) {}

  /** A limit that was reached: whose, and which. */
  public record QuotaViolation(String subject, String description) {}

  private final Status.Code code;
  private String reason = "";
  private transient List<Violation> violations = List.of();
  private transient Duration retryDelay;
  private transient List<QuotaViolation> quota = List.of();
  private String resource = "";
  private transient Map<String, String> metadata = Map.of();
  private String requestId = "";

  GatewayException(Status.Code code, String message, Throwable cause) {
    super(message, cause);
    this.code = code;
  }

  static GatewayException of(Status.Code code, String format, Object... values) {
    return new GatewayException(code, String.format(format, values), null);
  }

  /** Of a failed call; details that cannot be read say nothing. */
  static GatewayException of(StatusRuntimeException failure) {
    Status status = failure.getStatus();
    String text = status.getDescription() != null ? status.getDescription() : status.getCode().name();
    GatewayException made = new GatewayException(status.getCode(), text, failure);
    com.google.rpc.Status details = StatusProto.fromThrowable(failure);
    if (details == null) return made;
    for (Any detail : details.getDetailsList()) {
      try {
        made.take(detail);
      } catch (InvalidProtocolBufferException unreadable) {
        continue;
      }
    }
    return made;
  }

  private void take(Any detail) throws InvalidProtocolBufferException {
    if (detail.is(ErrorInfo.class)) {
      ErrorInfo info = detail.unpack(ErrorInfo.class);
      metadata = info.getMetadataMap();
      if (info.getDomain().equals(DOMAIN)) reason = info.getReason();
    } else if (detail.is(RetryInfo.class)) {
      RetryInfo info = detail.unpack(RetryInfo.class);
      Duration delay = Duration.ofSeconds(info.getRetryDelay().getSeconds(), info.getRetryDelay().getNanos());
      if (info.hasRetryDelay()) retryDelay = delay.isNegative() ? Duration.ZERO : delay;
    } else if (detail.is(BadRequest.class)) {
      violations = detail.unpack(BadRequest.class).getFieldViolationsList().stream()
          .map(v -> new Violation(v.getField(), v.getDescription())).toList();
    } else if (detail.is(QuotaFailure.class)) {
      quota = detail.unpack(QuotaFailure.class).getViolationsList().stream()
          .map(v -> new QuotaViolation(v.getSubject(), v.getDescription())).toList();
    } else if (detail.is(ResourceInfo.class)) {
      resource = detail.unpack(ResourceInfo.class).getResourceName();
    }
  }

  public Status.Code code() {
    return code;
  }

  /** A name of the contract's ErrorReason, such as "FINE_TUNE_NOT_FOUND"; empty if the gateway gave none, as when it is out of reach. */
  public String reason() {
    return reason;
  }

  /** The fields that are wrong, of INVALID_FIELD. */
  public List<Violation> violations() {
    return violations;
  }

  /** How long to wait before trying again, if the gateway says so. */
  public Optional<Duration> retryDelay() {
    return Optional.ofNullable(retryDelay);
  }

  /** The limits that were reached, of CLIENT_QUOTA_EXCEEDED. */
  public List<QuotaViolation> quota() {
    return quota;
  }

  /** The name of the job that the error is about, if the gateway says so. */
  public String resource() {
    return resource;
  }

  /** More facts, such as Segmind's own status code. */
  public Map<String, String> metadata() {
    return metadata;
  }

  /** Of a submit that failed: repeat it with this one. */
  public String requestId() {
    return requestId;
  }

  GatewayException withRequestId(String id) {
    requestId = id;
    return this;
  }

  /** The same of a gateway that could not be reached. */
  GatewayException because(String message) {
    GatewayException made = new GatewayException(code, message, getCause());
    made.requestId = requestId;
    return made;
  }

  /** Whether the gateway need not have had a part in the failure. */
  boolean mayBeOutOfReach() {
    return (code == Status.Code.UNAVAILABLE || code == Status.Code.DEADLINE_EXCEEDED) && reason.isEmpty();
  }

  /** Whether the same call may succeed later, and repeating it does no harm. */
  boolean worthRepeating() {
    return switch (code) {
      case UNAVAILABLE, UNKNOWN -> true;
      // A server that shuts down says CANCELLED to calls that it has not looked at; a connection that was reset shows itself as INTERNAL
      // without a reason.
      case CANCELLED, INTERNAL -> reason.isEmpty();
      case RESOURCE_EXHAUSTED -> retryDelay != null;
      default -> false;
    };
  }
}
