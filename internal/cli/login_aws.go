package cli

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/strongroom/strongroom/client"
)

// callerQuestion is what a login with credentials of AWS signs.
const callerQuestion = "Action=GetCallerIdentity&Version=2011-06-15"

// awsKey is a key of AWS.
type awsKey struct{ id, secret, session string }

// awsKeyOf is the key that the arguments or the environment give.
func awsKeyOf(args map[string]string, getenv func(string) string) (awsKey, error) {
	pick := func(arg, env string) string {
		if v := args[arg]; v != "" {
			return v
		}
		return getenv(env)
	}
	k := awsKey{pick("aws_access_key_id", "AWS_ACCESS_KEY_ID"), pick("aws_secret_access_key", "AWS_SECRET_ACCESS_KEY"), pick("aws_security_token", "AWS_SESSION_TOKEN")}
	if k.id == "" || k.secret == "" {
		return k, usagef("no credentials of AWS: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_SESSION_TOKEN), or give aws_access_key_id=… and aws_secret_access_key=…")
	}
	return k, nil
}

// withAWS signs the question who one is, which the server then asks STS.
func withAWS(c *call, cl *client.Client, mount string, args map[string]string) (*client.Secret, error) {
	key, err := awsKeyOf(args, c.getenv)
	if err != nil {
		return nil, err
	}
	host, region := "sts.amazonaws.com", args["region"]
	if region == "" {
		region = "us-east-1"
	} else {
		host = "sts." + region + ".amazonaws.com"
	}
	if args["sts_host"] != "" {
		host = args["sts_host"]
	}
	headers, err := json.Marshal(key.sign(host, region, args["header_value"], time.Now()))
	if err != nil {
		return nil, err
	}
	b64 := base64.StdEncoding.EncodeToString
	fields := map[string]string{"iam_http_request_method": "POST", "iam_request_url": b64([]byte("https://" + host + "/")), "iam_request_body": b64([]byte(callerQuestion)), "iam_request_headers": b64(headers)}
	if args["role"] != "" {
		fields["role"] = args["role"]
	}
	return cl.Write(c.ctx, client.JoinPath("auth", mount, "login"), fields)
}

// sign is the headers of the question, with its signature (AWS Signature Version 4).
func (k awsKey) sign(host, region, serverID string, now time.Time) map[string]string {
	stamp := now.UTC().Format("20060102T150405Z")
	headers := map[string]string{"Content-Type": "application/x-www-form-urlencoded; charset=utf-8", "Host": host, "X-Amz-Date": stamp}
	if k.session != "" {
		headers["X-Amz-Security-Token"] = k.session
	}
	if serverID != "" {
		headers["X-Vault-AWS-IAM-Server-ID"] = serverID
	}
	var names []string
	values := map[string]string{}
	for name, value := range headers {
		names = append(names, strings.ToLower(name))
		values[strings.ToLower(name)] = value
	}
	slices.Sort(names)
	var canonical strings.Builder
	canonical.WriteString("POST\n/\n\n")
	for _, name := range names {
		canonical.WriteString(name + ":" + values[name] + "\n")
	}
	signed := strings.Join(names, ";")
	canonical.WriteString("\n" + signed + "\n" + hexSum(callerQuestion))
	scope := stamp[:8] + "/" + region + "/sts/aws4_request"
	key := []byte("AWS4" + k.secret)
	for part := range strings.SplitSeq(scope, "/") {
		key = mac(key, part)
	}
	signature := hex.EncodeToString(mac(key, "AWS4-HMAC-SHA256\n"+stamp+"\n"+scope+"\n"+hexSum(canonical.String())))
	headers["Authorization"] = "AWS4-HMAC-SHA256 Credential=" + k.id + "/" + scope + ", SignedHeaders=" + signed + ", Signature=" + signature
	return headers
}

func hexSum(text string) string {
	s := sha256.Sum256([]byte(text))
	return hex.EncodeToString(s[:])
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

// podToken is where a pod finds the token of its service account.
const podToken = "/var/run/secrets/kubernetes.io/serviceaccount/token"

// withServiceAccount logs in with the token of a service account: the pod's, where none
// is given.
func withServiceAccount(c *call, cl *client.Client, mount string, args map[string]string) (*client.Secret, error) {
	if args["jwt"] == "" {
		b, err := os.ReadFile(podToken)
		switch {
		case errors.Is(err, os.ErrNotExist):
			return nil, usagef("jwt=… is needed: this is no pod with a service account's token")
		case err != nil:
			return nil, err
		}
		args["jwt"] = strings.TrimSpace(string(b))
	}
	return withFields(c, cl, mount, args)
}
