"""The application's side of the data plane: a head comes, a turn is made of it, its story's plans become the plane's steps.

wire -- head --> desk --> turn    a story, told whole: plans --> steps --> wire
                      --> retold  a story told before, with other words in its holes: habits, habit, again (docs/decisions/0009)
guest        whose connection it is                                 parameters   words of a query
identities   access key and token --> credentials, by the view      policy_service, decisions   questions that must be awaited
form_upload  the file of a form on its way up                       refusals, denials           what went wrong, to clients and to operators
"""
