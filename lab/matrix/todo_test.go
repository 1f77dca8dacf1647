//go:build matrix

package matrix

// verdictTodos has, by row, today's verdict where the row wants another one. A row fails
// when its mark is no longer needed.
var verdictTodos = map[string]string{
	"head-401-get-200": "says cluster-config CredentialsRejected confirmed",
}

// fixTodos has, by row, why the fix is not a command that works yet.
var fixTodos = map[string]string{}

// loginTodos has, by row, which login the product gives away.
var loginTodos = map[string]string{}
