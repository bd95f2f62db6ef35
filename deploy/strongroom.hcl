# Configuration of Strongroom. Each setting is explained by what is said about it when it is wrong; the server tells of
# every mistake at once, with its line. Certificates are read anew when their files change; SIGHUP also opens log files anew.

storage "pebble" {
  path = "/var/lib/strongroom"
}

# This machine alone reaches the server. For others, give an address and a certificate:
#   address       = "0.0.0.0:8200"
#   tls_cert_file = "/etc/strongroom/tls.crt"
#   tls_key_file  = "/etc/strongroom/tls.key"
listener "tcp" {
  address     = "127.0.0.1:8200"
  tls_disable = true
}

# Every request is written down here before it is acted on.
audit "file" "main" {
  options {
    file_path = "/var/log/strongroom/audit.log"
  }
}

# Unseal at each start by a key in a file, instead of by people with operator unseal:
# seal "file" {
#   path = "/etc/strongroom/keys"
# }
