package mfa

import "github.com/strongroom/strongroom/internal/api"

// VendorFields are those of all methods that a vendor answers.
type VendorFields struct {
	MethodName     string `json:"method_name"`          // Kept for compatibility.
	UsernameFormat string `json:"username_format"`      // Kept for compatibility.
	SecretKey      string `json:"secret_key"`           // Kept for compatibility.
	IntegrationKey string `json:"integration_key"`      // Kept for compatibility.
	APIHostname    string `json:"api_hostname"`         // Kept for compatibility.
	PushInfo       string `json:"push_info"`            // Kept for compatibility.
	UsePasscode    bool   `json:"use_passcode"`         // Kept for compatibility.
	APIToken       string `json:"api_token"`            // Kept for compatibility.
	BaseURL        string `json:"base_url"`             // Kept for compatibility.
	OrgName        string `json:"org_name"`             // Kept for compatibility.
	PrimaryEmail   bool   `json:"primary_email"`        // Kept for compatibility.
	Production     bool   `json:"production"`           // Kept for compatibility.
	SettingsFile   string `json:"settings_file_base64"` // Kept for compatibility.
}

// VendorRequest would make a method that a vendor answers.
type VendorRequest struct {
	VendorFields
}

// VendorByIDRequest would change a method that a vendor answers.
type VendorByIDRequest struct {
	MethodID api.Name `path:"method_id"` // Identifier of the method.
	VendorFields
}

// vendorRoutes are the endpoints of methods that are not there: they would ask a vendor's
// service at each login.
func vendorRoutes() []api.Route[*Store] {
	var out []api.Route[*Store]
	for _, kind := range []string{"duo", "okta", "pingid"} {
		at := "mfa/method/" + kind
		out = append(out,
			api.Handle(api.List, at, (*Store).listVendor),
			api.Handle(api.Write, at, (*Store).writeVendor),
			api.Handle(api.Read, at+"/{method_id}", (*Store).vendor),
			api.Handle(api.Write, at+"/{method_id}", (*Store).writeVendorByID),
			api.Handle(api.Delete, at+"/{method_id}", (*Store).vendor))
	}
	return out
}

func errVendor() error {
	return &api.Error{Kind: api.Invalid, Message: "there are no methods that ask a vendor (duo, okta, pingid): a login here waits for nobody else's service",
		Hint: "use a method of type totp, which any authenticator app answers, the vendors' among them"}
}

// listVendor answers that there are no methods that ask a vendor.
func (*Store) listVendor(*api.Call, *api.None) (*api.Keys, error) { return nil, errVendor() }

// vendor answers that there are no methods that ask a vendor.
func (*Store) vendor(*api.Call, *MethodRequest) (*api.None, error) { return nil, errVendor() }

// writeVendor refuses a method that asks a vendor.
func (*Store) writeVendor(*api.Call, *VendorRequest) (*api.None, error) { return nil, errVendor() }

// writeVendorByID refuses a method that asks a vendor.
func (*Store) writeVendorByID(*api.Call, *VendorByIDRequest) (*api.None, error) {
	return nil, errVendor()
}
