package cluster

// OwnedFlags are the etcd flags CKE sets itself or that would undo its safety;
// extra_args may not name them, here or on the host.
func OwnedFlags() []string {
	return []string{
		"name", "data-dir", "wal-dir", "config-file",
		"listen-client-urls", "listen-client-http-urls", "listen-peer-urls", "listen-metrics-urls",
		"advertise-client-urls", "initial-advertise-peer-urls",
		"initial-cluster", "initial-cluster-state", "initial-cluster-token",
		"discovery", "discovery-srv", "discovery-srv-name", "discovery-token", "discovery-endpoints",
		"discovery-dial-timeout", "discovery-request-timeout", "discovery-keepalive-time", "discovery-keepalive-timeout",
		"discovery-insecure-transport", "discovery-insecure-skip-tls-verify", "discovery-cert", "discovery-key",
		"discovery-cacert", "discovery-user", "discovery-password", "discovery-fallback", "discovery-proxy",
		"cert-file", "key-file", "client-cert-file", "client-key-file", "client-cert-auth",
		"trusted-ca-file", "client-crl-file", "client-cert-allowed-hostname", "auto-tls",
		"peer-cert-file", "peer-key-file", "peer-client-cert-file", "peer-client-key-file", "peer-client-cert-auth",
		"peer-trusted-ca-file", "peer-crl-file", "peer-auto-tls", "peer-cert-allowed-cn", "peer-cert-allowed-hostname",
		"peer-skip-client-san-verification", "self-signed-cert-validity",
		"auth-token", "auth-token-ttl", "bcrypt-cost",
		"force-new-cluster", "force-new-cluster-bump-amount", "unsafe-no-fsync",
		"auto-compaction-mode", "auto-compaction-retention", "quota-backend-bytes",
		"enable-grpc-gateway", "feature-gates", "strict-reconfig-check", "enable-pprof",
		"log-outputs", "logger", "enable-log-rotation", "log-rotation-config-json",
		"socket-reuse-port", "socket-reuse-address",
		"enable-log-rotation", "log-rotation-config-json", "version", "help",
	}
}
